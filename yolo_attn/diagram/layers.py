"""The layers of a model with the sizes of what they put out, as the picture of its graph shows them."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .. import graph
from ..document import PARTS
from ..inspection import reading, wiring
from ..inspection.finding import Finding, explained
from ..inspection.subject import Subject, subject
from ..patches import host, rehearsal

Sizes = list[host.Size | list[host.Size] | None]
OTHERWISE = "Correct the row: `yolo-attn preflight` says more about it."


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        number: Number of its row.
        module: Module of the row, Residual with what it wraps.
        repeats, args: As the row has them.
        part: "backbone" or "head".
        sources: Numbers of the layers that it reads; -1 is the image.
        size: What it puts out: (C, H, W) of a map, the sizes of several, or None for anything else.
        registered: Whether it is a registered module.
    """

    number: int
    module: str
    repeats: int
    args: Sequence[Any]
    part: str
    sources: Sequence[int]
    size: host.Size | list[host.Size] | None
    registered: bool


def read(model: str | os.PathLike | Mapping[str, Any] | nn.Module, imgsz: int) -> tuple[str, list[Layer]]:
    """The name of a model, its layers, and the size of its image before them, as number -1.

    Raises:
        ValueError, FileNotFoundError: As `draw_graph` does.
    """
    on = _subject(model, imgsz)
    with rehearsal.quiet():
        _check(on, reading.read)
        _check(on, wiring.rows)
        try:
            built, sizes = _sizes(on)
        except Exception as failure:  # whatever a module raises
            raise _mistake(explained(failure, on.names, OTHERWISE)) from failure
    backbone, ours = len(on.d["backbone"]), host.inserted(built)
    layers = [Layer(-1, "image", 1, [], "backbone", [], (on.d.get("channels", 3), imgsz, imgsz), False)]
    for i, (name, row, size) in enumerate(zip(on.names, graph.rows(on.d), sizes, strict=True)):
        args = row[3] if name == row[2] else row[3][1:]
        part = "backbone" if i < backbone else "head"
        layers.append(Layer(i, name, row[1], args, part, graph.sources(row, i), size, i in ours))
    named = on.d.get("yaml_file") or "model" if isinstance(on.given, Mapping) else on.given
    return Path(named).name, layers


def _subject(model: str | os.PathLike | Mapping[str, Any] | nn.Module, imgsz: int) -> Subject:
    if isinstance(model, Mapping):
        for part in PARTS:
            rows = model.get(part)
            if not isinstance(rows, (list, tuple)) or not rows:
                raise ValueError(
                    f"model: {part} must be a list of rows [from, repeats, module, arguments], got {rows!r}. "
                    "Give what yaml.safe_load reads from a model YAML, say."
                )
    if not isinstance(model, nn.Module):
        return subject(model, imgsz, 1, "cpu", None)
    if (inner := host.inner(model)) is None:
        raise ValueError(
            f"model: a model of Ultralytics is needed, got {type(model).__name__}. Give a YOLO, a YAML or a checkpoint."
        )
    on = subject(inner.yaml, imgsz, 1, "cpu", None)
    on.source = inner
    return on


def _check(on: Subject, check: Callable[[Subject], Iterable[Finding]]) -> None:
    """Raise what a check of preflight finds that keeps the model from being read; a row without a use does not."""
    try:
        found = list(check(on))
    except Exception as failure:
        raise _mistake(explained(failure, on.names, OTHERWISE)) from failure
    if not on.d:
        raise _mistake(next(finding for finding in found if finding.level == "error"))


def _mistake(finding: Finding) -> ValueError:
    return ValueError(f"{finding.where}{': ' if finding.where else ''}{finding.what}. {finding.do}")


def _sizes(on: Subject) -> tuple[host.Model, Sizes]:
    """A model and what its layers put out: with shapes alone, or in earnest where a module can't do with these."""
    if on.source is not None:
        return _run(copy.deepcopy(on.source).float(), on.imgsz)
    try:
        with rehearsal.shapes():
            return _run(host.build(on.d), on.imgsz)
    except Exception:  # whatever a module raises that is made of shapes alone
        return _run(host.build(on.d), on.imgsz)


def _run(built: host.Model, imgsz: int) -> tuple[host.Model, Sizes]:
    stride = max(int(max(built.stride)), 32)
    if rest := imgsz % stride:
        raise ValueError(
            f"imgsz: a multiple of the stride {stride} is needed, got {imgsz}. Write imgsz={imgsz - rest + stride}."
        )
    return built, host.sizes(built, imgsz)
