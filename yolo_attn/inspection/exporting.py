"""Check: the model exports to ONNX, with the opset that is given."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from ..patches import rehearsal
from .finding import Finding, error, explained, ok, warning
from .subject import Subject

OPSET = 18  # which Ultralytics takes by itself, or a later one
OTHERWISE = "It trains all the same; for an export put another module in its place."


def export(subject: Subject) -> Iterator[Finding]:
    """Export into memory, at imgsz, because pooling has limits by size."""
    if importlib.util.find_spec("onnx") is None:
        yield ok("not tried, because onnx is not installed")
        return
    opset = subject.opset or OPSET
    if (failure := _failure(subject, opset)) is None:
        yield ok(f"to ONNX, opset {opset}")
        return
    found = explained(failure, subject.names, OTHERWISE)
    if subject.opset:
        helps = opset != OPSET and _failure(subject, OPSET) is None
        what = f"no export to ONNX with opset={opset}: {found.what}"
        yield error(what, f"Give opset={OPSET}, or leave it out." if helps else OTHERWISE, found.where)
    else:
        yield warning(f"no export to ONNX: {found.what}", OTHERWISE, found.where)


def _failure(subject: Subject, opset: int) -> Exception | None:
    """What an export raises."""
    model = subject.model.cpu()
    try:
        rehearsal.exported(model, rehearsal.images(model, 1, (subject.imgsz, subject.imgsz)), opset)
    except Exception as failure:  # whatever a module or the exporter raises
        return failure
    return None
