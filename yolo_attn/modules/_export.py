"""What an export asks of the modules: any size of map, and, where a runtime needs it, plain operations only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

OFF = ("", "0", "false", "no", "off")  # as for YOLO_ATTN_AUTOLOAD

_plain = False
_safe = os.environ.get("YOLO_ATTN_EXPORT_SAFE", "").lower() not in OFF


@contextmanager
def export_safe() -> Iterator[None]:
    """Inside this block modules sample by gathers and products, and what is exported has no GridSample or DeformConv.

    For runtimes that lack these operations or compute them wrongly. The results are the same to rounding. The
    environment variable `YOLO_ATTN_EXPORT_SAFE=1` does it for a whole process, such as a `yolo export`. Exports to
    formats other than ONNX, TorchScript and OpenVINO, TensorRT among them, do it by themselves.
    """
    global _safe
    before, _safe = _safe, True
    try:
        yield
    finally:
        _safe = before


def is_export_safe() -> bool:
    """Whether the block of export_safe, or its environment variable, holds."""
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


def in_graph() -> bool:
    """Whether a graph is being made, by an export or torch.compile: what it computes is to depend on no size."""
    return exporting() or torch.compiler.is_compiling()


def step_by_step() -> bool:
    """Whether operations just run, one by one: no graph is being made of them, and nobody counts them."""
    return not (_plain or in_graph())
