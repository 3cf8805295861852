"""What an export asks of the modules: any size of map, and, where a runtime needs it, plain operations only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

OFF = ("", "0", "false", "no", "off")  # as for YOLO_ATTN_AUTOLOAD

_plain = False
_safe = os.environ.get("YOLO_ATTN_EXPORT_SAFE", "").lower() not in OFF


class export_safe(AbstractContextManager[None]):
    """From this call on modules sample by gathers and products, and what is exported has no GridSample or DeformConv;
    with `with yolo_attn.export_safe():` until the end of the block.

    For runtimes that lack these operations or compute them wrongly. The results are the same to rounding. The
    environment variable `YOLO_ATTN_EXPORT_SAFE=1` does it for a whole process, such as a `yolo export`. Exports to
    formats other than ONNX, TorchScript and OpenVINO, TensorRT among them, do it by themselves.
    """

    def __init__(self) -> None:
        global _safe
        self._before, _safe = _safe, True

    def __exit__(self, *error: object) -> None:
        global _safe
        _safe = self._before


def is_export_safe() -> bool:
    """Whether export_safe, or its environment variable, holds."""
    return _safe


def exporting() -> bool:
    """Whether a graph is being made that is to suit other sizes: branches that a size decides would be fixed in it.

    There, sizes are divided by `//` only where they are positive: ONNX rounds to zero.
    """
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


@contextmanager
def plain() -> Iterator[None]:
    """Inside this block modules compute by the operations that a count of FLOPs knows, those of a graph."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def at_least(n: int, low: int) -> Any:
    """The larger of a number that follows from the size of a map and another one. `max` would decide it while a graph
    is made, for the size of its example."""
    return n.clamp(min=low) if isinstance(n, torch.Tensor) else torch.sym_max(n, low)  # a trace has tensors of sizes


def smaller(one: int, other: int) -> Any:
    """The smaller of two numbers that follow from the size of a map, as `at_least` has the larger."""
    return torch.minimum(one, other) if isinstance(one, torch.Tensor) else torch.sym_min(one, other)


def in_graph() -> bool:
    """Whether a graph is being made, by an export or torch.compile: what it computes is to depend on no size."""
    return exporting() or torch.compiler.is_compiling()


def step_by_step() -> bool:
    """Whether operations just run, one by one: no graph is being made of them, and nobody counts them."""
    return not (_plain or in_graph())
