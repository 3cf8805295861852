"""Check: the file is a model, and the scale is the one that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from ..patches import host
from .finding import Finding, error, explained, ok, warning
from .subject import Subject

WHOLE = "Take a whole checkpoint, such as weights/best.pt of a training."


def read(subject: Subject) -> Iterator[Finding]:
    """Read the model; the scale is that of its name, as Ultralytics has it."""
    given = subject.given
    if isinstance(given, Mapping):
        d = dict(given)
    elif given.suffix == ".pt":
        try:
            subject.source = host.open_checkpoint(given)
        except Exception as failure:  # whatever unpickling raises
            found = explained(failure, [], WHOLE)
            yield replace(found, what=f"it can't be read: {found.what}") if found.do == WHOLE else found
            return
        kept = getattr(subject.source, "yaml", None)
        if not isinstance(kept, Mapping):
            yield error("it holds no model that was built from a YAML", WHOLE)
            return
        d = dict(kept)
    else:
        d = host.load_yaml(given)
    if not isinstance(d.get("scales") or {}, Mapping):
        yield error(f"scales must be a table, got {d['scales']!r}", "Write scales: {n: [0.33, 0.25, 1024]}, say.")
        return
    if isinstance(given, Path) and given.suffix != ".pt":
        yield from _scale(given, d)
    d = host.scaled(d)
    scales, scale, classes = d.get("scales") or {}, d["scale"], d.get("nc")
    if scales and scale not in scales:
        yield error(
            f"it is to be built at scale {scale!r}, and `scales` has {', '.join(scales)}",
            "Add it there, or say one of these by the name of the file.",
        )
    elif scales and (not isinstance(scales[scale], (list, tuple)) or len(scales[scale]) != 3):
        yield error(
            f"scale {scale} is {scales[scale]!r}", "Write its depth, width and most channels: [0.33, 0.25, 1024]."
        )
    elif isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        yield error(f"nc must be the number of classes, got {classes!r}", "Write nc: 80, say, above the backbone.")
    else:
        subject.d = d
        yield ok(f"{host.task_of(d)}{f' at scale {scale}' if scale in scales else ''}")


def _scale(path: Path, d: Mapping) -> Iterator[Finding]:
    """Surprises on the way from a file's name to a scale."""
    scale, scales = d["scale"], list(d.get("scales") or {})
    text = host.yaml_path(path).read_text(encoding="utf-8", errors="ignore")  # as Ultralytics does
    written = yaml.safe_load(text).get("scale")
    if written and written != scale:
        yield warning(
            f"the file says scale: {written}, which Ultralytics overwrites by what the name says, {scale or 'nothing'}",
            f"Say it by the name: model={_named(path, written)}.",
        )
    elif not scale and len(scales) > 1:
        yield warning(
            f"the name {path.name} says no scale, so Ultralytics takes the first of {', '.join(scales)}",
            f"Say it by the name: model={_named(path, scales[0])}, or {_named(path, scales[1])}.",
        )
    elif scale in scales and re.search(rf"yolo(e-)?v?\d+{scale}[a-z]", path.stem):
        yield warning(
            f"Ultralytics reads scale {scale} out of the name {path.name}",
            f"Put a - behind the letter if it is meant, or behind the number if it is not: {_named(path, '')}.",
        )


def _named(path: Path, scale: str) -> str:
    """A name for a file that says its scale."""
    family = re.match(r"(yolo(?:e-)?v?\d+)([nslmx](?![a-z]))?-?(.*)", path.stem)
    start, rest = (family[1], family[3]) if family else ("yolov8", path.stem)
    return f"{start}{scale}{'-' * bool(rest)}{rest}{path.suffix}"
