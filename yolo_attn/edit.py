"""Insert, replace and remove layers of any model that Ultralytics can build, by the names of places."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import document, graph, log
from .patches import host
from .patches import weights as checkpoints
from .places import Places, several, written
from .places import layers as layers_at
from .registry import Spec, find, get
from .rows import refuse_endless, renamed

MODES = ("residual", "plain")
Base = str | Path | Mapping[str, Any]


def insert(
    base: Base,
    module: str | Sequence[str],
    at: Places,
    args: Mapping[str, Any] | Sequence[Any] | None = None,
    mode: str = "residual",
    out: str | Path | None = None,
    weights: str | Path | None = None,
) -> dict[str, Any]:
    """Insert registered modules behind layers of a model; everything that used such a layer uses the module instead.

    Args:
        base: A model YAML or its name, as Ultralytics takes it (yolov8n.yaml), or a model dictionary.
        module: Name of a registered module, or several, one behind the other. One that fuses maps goes to a place where
            two are concatenated, or, alone, to several places: each gets one that fuses the maps of all, its own first.
        at: Where: `sppf`; `p2` to `p6`, the end of that backbone stage; `backbone`, all of these; `neck-p3` and so on,
            the maps that feed the head; `neck`, all of these; `concat`, every layer that concatenates two maps; or the
            number of a layer; or several of all that.
        args: The module's arguments after its channels, as a list, a mapping, or one value.
        mode: "residual": x + gamma * module(x) with gamma zero at the start, so that a pretrained model computes what
            it did. "plain": the bare module; one that fuses takes the place of the Concat.
        out: New file for the result: a YAML, which keeps the comments of the base, or with `weights` a checkpoint.
        weights: Checkpoint (.pt) whose weights, class names and number of classes go into `out`.

    Returns:
        The model dictionary, as Ultralytics would read it from a YAML, with scale and yaml_file.

    Raises:
        ValueError: If there is no such module or place, or the result can't be built.
        FileExistsError: If `out` exists.
    """
    modules = [get(name) for name in several("module", module)]
    if mode not in MODES:
        raise ValueError(f"insert: mode must be one of {', '.join(MODES)}, got {mode!r}. Choose one of these.")
    arguments = _arguments(args)

    def change(model: graph.Model, layers: list[int]) -> None:
        concat = any(graph.rows(model)[layer][2] == "Concat" for layer in layers)
        if len(layers) > 1 and not concat and [spec.channels for spec in modules] == ["fuse"]:
            return _insert_across(model, layers, modules[0], arguments, mode)
        for layer in reversed(layers):
            for spec in reversed(modules):
                _insert(model, layer, spec, arguments, mode)

    return _edit(base, at, change, out, weights)


def replace(
    base: Base,
    module: str,
    at: Places,
    args: Mapping[str, Any] | Sequence[Any] | None = None,
    out: str | Path | None = None,
    weights: str | Path | None = None,
) -> dict[str, Any]:
    """Put another module, of ours or of Ultralytics, in the place of layers; their inputs and users stay.

    Args:
        base, at, out, weights: As for `insert`.
        module: Name of the new module. One that stands for the layer, as DeformConv does for a Conv, keeps its repeats.
        args: As for `insert`; by default those of the layer that the module has too, where it stands for the layer.

    Returns:
        The model dictionary, as `insert` returns it.

    Raises:
        ValueError: If there is no such place, the number of inputs does not suit, or the result can't be built.
        FileExistsError: If `out` exists.
    """
    spec = find(module)

    def change(model: graph.Model, layers: list[int]) -> None:
        for layer in layers:
            row = graph.rows(model)[layer]
            inputs = len(graph.sources(row, layer))
            if spec and (inputs > 1) != (spec.channels == "fuse"):
                takes = "several inputs" if spec.channels == "fuse" else "one input"
                raise ValueError(
                    f"replace: {module} takes {takes}, and layer {layer} ({row[2]}) has {inputs}. Choose another."
                )
            alike = _alike(module, row[2])
            given = _own(row, module) if alike and args is None else _arguments(args)
            graph.replace(model, layer, module, given, row[1] if alike else 1)

    return _edit(base, at, change, out, weights)


def remove(base: Base, at: Places, out: str | Path | None = None, weights: str | Path | None = None) -> dict[str, Any]:
    """Remove layers; what used such a layer uses its input.

    Args:
        base, out, weights: As for `insert`.
        at: As for `insert`, or the name of a registered module for all layers of it, residual or plain.

    Returns:
        The model dictionary, as `insert` returns it.

    Raises:
        ValueError: If there is no such place, a layer merges several inputs, or the result can't be built.
        FileExistsError: If `out` exists.
    """

    def change(model: graph.Model, layers: list[int]) -> None:
        for layer in reversed(layers):
            row = graph.rows(model)[layer]
            if len(graph.sources(row, layer)) > 1 and row[2] not in written(get("Residual")):
                raise ValueError(
                    f"remove: layer {layer} ({row[2]}) merges several inputs, and what used it needs one. "
                    "Replace it instead, by Concat for example."
                )
            graph.remove(model, layer)

    return _edit(base, at, change, out, weights, by_module=True)


def _insert_across(model: graph.Model, layers: list[int], spec: Spec, args: list[Any], mode: str) -> None:
    """A module for each of several layers, which fuses the maps of all as they were, its own first."""
    wrapped = [host.row_name(spec), *args]
    for k, layer in enumerate(layers):
        inputs = [layer, *(other for other in layers if other != layer)]
        row = [inputs, 1, wrapped[0], args] if mode == "plain" else [[layer, *inputs], 1, "Residual", wrapped]
        graph.insert(model, layers[-1] + k, copy.deepcopy(row), of=layer)


def _alike(one: str, other: str) -> bool:
    """Whether one of two modules of one input stands for the other, and so takes the arguments of its row."""
    pairs = ((find(one), other), (find(other), one))
    return any(spec is not None and spec.channels != "fuse" and spec.stands_for == stock for spec, stock in pairs)


def _own(row: graph.Row, module: str) -> list[Any]:
    """The arguments of a row as those of the module that takes its place."""
    own = renamed(row[3], *map(host.row_parameters, (row[2], module)))
    if find(module) is None and (not own or isinstance(own[-1], Mapping)):  # a stock row has positions only
        raise ValueError(f"replace: {module} needs other arguments than {row[2]} has, {row[3]!r}. Give args.")
    return own


def _insert(model: graph.Model, layer: int, spec: Spec, args: list[Any], mode: str) -> None:
    wrapped = [host.row_name(spec), *copy.deepcopy(args)]
    if spec.channels != "fuse":
        bare = mode == "plain" or spec.identity
        graph.insert(model, layer, [-1, 1, wrapped[0], wrapped[1:]] if bare else [-1, 1, "Residual", wrapped])
        return
    row = graph.rows(model)[layer]
    if row[2] != "Concat":
        raise ValueError(
            f"insert: {spec.name} fuses several maps, and layer {layer} ({row[2]}) is no Concat. "
            "Give at=concat, the number of a Concat, or several places whose maps are to meet."
        )
    if mode == "plain":
        graph.replace(model, layer, wrapped[0], wrapped[1:])
    else:
        graph.insert(model, layer, [[layer, *graph.sources(row, layer)], 1, "Residual", wrapped])


def _edit(
    base: Base,
    at: Places,
    change: Callable[[graph.Model, list[int]], None],
    out: str | Path | None,
    weights: str | Path | None,
    by_module: bool = False,
) -> dict[str, Any]:
    """Change a model at places, see that it can be built, and write it."""
    target = Path(out) if out is not None else None
    if target is not None:
        document.refuse_existing(target)
        if target.suffix not in ((".yaml", ".yml") if weights is None else (".pt",)):
            raise ValueError(f"out: {out} must end in .pt with weights, and in .yaml without. Give the other ending.")
    d = opened(base)
    with log.doing("finding the places"):
        layers = layers_at(d, at, by_module)
    if target is None or weights is not None:
        change(d, layers)
        _see_that_it_runs(d, layers)
        if target is not None:
            with log.doing("moving the weights"):
                checkpoints.save(d, str(weights), target)
        return d
    scale = first_scale(d, target)
    try:
        text = document.dump(d) if isinstance(base, Mapping) else document.read(host.yaml_path(base))
        text = document.edited(text, d, lambda model: change(model, layers), scale)
    except document.NotInPlace as error:
        text = document.dump(d)
        warnings.warn(f"{out} is without the comments of {base}: {error}", stacklevel=3)
    _see_that_it_runs(d, layers)
    document.write(target, text)
    return d


def _see_that_it_runs(d: graph.Model, layers: Sequence[int]) -> None:
    """Build a changed model; where the message names no row, it gets the places that were changed."""
    try:
        with log.doing("trying the model"):
            host.measure(d)
    except ValueError as error:
        if not str(error).startswith("the model can't"):
            raise
        where = ", ".join(map(str, layers))
        raise ValueError(
            f"at {where}: {error}. Give other args or another place: a map of this size or width doesn't suit there."
        ) from error


def opened(base: Base) -> dict[str, Any]:
    """The model of a base, whose rows are lists of their own."""
    if isinstance(base, Mapping):
        refuse_endless("base: a model", base)
        d = copy.deepcopy(dict(base))
    elif str(base).endswith((".yaml", ".yml")):
        d = host.load_yaml(base)
    else:
        raise ValueError(
            f"base: a model YAML is needed, got {base}. Give yolov8n.yaml, say; a checkpoint goes into weights=."
        )
    for part in document.PARTS:
        rows = d.get(part)
        if (
            not isinstance(rows, list)
            or not rows
            or not all(isinstance(r, (list, tuple)) and len(r) == 4 for r in rows)
        ):
            raise ValueError(f"base: {part} must be a list of rows [from, repeats, module, arguments], got {rows!r}.")
        d[part] = [copy.deepcopy(list(row)) for row in rows]  # a YAML alias makes two rows one object
    return d


def first_scale(d: graph.Model, out: Path) -> str:
    """The scale that must come first in a file whose name says none; Ultralytics reads the scale from the name."""
    scale, named = d.get("scale") or "", host.scale_of(out)
    if named and scale and named != scale:
        raise ValueError(
            f"out: Ultralytics would read {out.name} at scale {named}, and the base is at scale {scale}. "
            "Give both the same letter, or out none."
        )
    return "" if named or scale not in d.get("scales", {}) else scale


def _arguments(args: Mapping[str, Any] | Sequence[Any] | Any | None) -> list[Any]:
    """The arguments of a row."""
    refuse_endless("args", args)
    if args is None:
        return []
    if isinstance(args, Mapping):
        return [dict(args)] if args else []
    return list(args) if isinstance(args, Sequence) and not isinstance(args, str) else [args]
