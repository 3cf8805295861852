"""Places of a model by name: which layers `sppf`, `p3`, `neck` or a module's name mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import graph
from .patches import host
from .registry import Spec, find, get, specs, suggest

Places = str | int | Sequence[str | int]


def named(d: graph.Model, maps: Sequence[host.Map | None]) -> dict[str, list[int]]:
    """The named places of a model, each with the numbers of its layers; `maps` as measured on the built model."""
    rows = graph.rows(d)
    backbone, head = len(d["backbone"]), len(rows) - 1
    found: dict[str, list[int]] = {}
    for i in range(backbone):
        if maps[i] and rows[i][2] == "SPPF":
            found["sppf"] = [i]
    stages = {maps[i].stride: i for i in range(backbone) if maps[i]}  # type: ignore[union-attr]
    found |= {f"p{k}": [stages[2**k]] for k in range(2, 7) if 2**k in stages}
    found["backbone"] = sorted({i for name, (i,) in found.items() if name != "sppf"})
    feeding = [i for i in graph.sources(rows[head], head) if i >= backbone and maps[i]]
    found |= {f"neck-p{maps[i].stride.bit_length() - 1}": [i] for i in feeding}  # type: ignore[union-attr]
    found["neck"] = sorted(feeding)
    found["concat"] = [i for i, row in enumerate(rows) if row[2] == "Concat" and len(graph.sources(row, i)) == 2]
    return {name: layers for name, layers in found.items() if layers}


def layers(d: graph.Model, at: Places, by_module: bool = False) -> list[int]:
    """Numbers of the layers that places mean, sorted; with by_module names of registered modules are places too."""
    rows, maps = graph.rows(d), host.measure(d)
    places, last = named(d, maps), len(rows) - 2
    found: set[int] = set()
    for place in several("at", at):
        if by_module and isinstance(place, str) and (its := _of_module(d, place)):
            found.update(its)
        elif isinstance(place, str) and place.lower() in places:
            found.update(places[place.lower()])
        elif type(place) is int and 0 <= place <= last:
            if maps[place] is None:
                raise ValueError(
                    f"at: layer {place} ({rows[place][2]}) puts out a list or text, not one map. Choose another layer."
                )
            found.add(place)
        else:
            listed = ", ".join(f"{name} ({', '.join(map(str, i))})" for name, i in places.items())
            near = suggest(str(place), places)
            raise ValueError(f"at: there is no place {place!r}.{near} There are {listed}, and the numbers 0 to {last}.")
    return sorted(found)


def _of_module(d: graph.Model, name: str) -> list[int]:
    """Numbers of the layers of a registered module, residual or plain; none if the name is of no module."""
    spec = find(name) or next((s for s in specs() if s.full_name == name), None)
    if spec is None:
        return []
    wrappers, meant = written(get("Residual")), written(spec)
    return [
        i
        for i, row in enumerate(graph.rows(d))
        if row[2] in meant or (row[2] in wrappers and row[3] and row[3][0] in meant)
    ]


def written(spec: Spec) -> set[str]:
    """The names by which a row can name a class."""
    return {spec.name, f"yolo_attn.{spec.name}", spec.full_name}


def several(what: str, given: Any) -> list[Any]:
    """One or several names or numbers as a list."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several or any(each is None for each in several):
        raise ValueError(f"{what} must be a name or number, or several, got {given!r}. Give at least one.")
    return list(several)
