"""Check: the model exports to ONNX, with which opset."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator

from ..patches import rehearsal
from .finding import Finding, error, explained, ok, row, warning
from .subject import Subject

OPSET = 18  # which Ultralytics takes by itself, or a later one
SINCE = {"GridSample": 16, "Col2Im": 18}  # operators of ONNX that an older opset hasn't
OTHERWISE = "It trains all the same; for an export put another module in its place."


def export(subject: Subject) -> Iterator[Finding]:
    """Export into memory, at imgsz, because pooling has limits by size; and see which operators are needed."""
    if importlib.util.find_spec("onnx") is None:
        yield ok("not tried, because onnx is not installed")
        return
    model = subject.model.cpu()
    try:
        graph = rehearsal.exported(model, rehearsal.images(model, 1, subject.fitting), OPSET)
    except Exception as failure:  # whatever a module or the exporter raises
        found = explained(failure, subject.names, OTHERWISE)
        yield warning(f"no export to ONNX: {found.what}", OTHERWISE, found.where)
        return
    needed = {name: rows for name in SINCE if (rows := _rows(graph, name))}
    opset = max((SINCE[name] for name in needed), default=0)
    if subject.opset and subject.opset < opset:
        name = next(name for name in needed if SINCE[name] == opset)
        yield error(
            f"it needs opset {opset}, because of ONNX's {name}, and opset={subject.opset} is given",
            f"Give opset={opset}, or leave it out.",
            ", ".join(row(i, subject.names) for i in needed[name]),
        )
        return
    said = [f"{name} of {', '.join(row(i, subject.names) for i in rows)}" for name, rows in needed.items()]
    yield ok(f"to ONNX{f', from opset {opset} on ({chr(59).join(said)})' if said else ''}")
    if "GridSample" in needed:
        yield ok(
            "TensorRT is known to build engines with GridSample that detect wrongly: compare boxes after an export"
        )


def _rows(graph: bytes, operator: str) -> list[int]:
    """Numbers of the rows that have an operator, from the names of the graph's nodes: /model.10/fn/GridSample."""
    return sorted({int(i) for i in re.findall(rf"/model\.(\d+)/[ -~]*?{operator}".encode(), graph)})
