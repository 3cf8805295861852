"""Exports: formats whose runtimes lack GridSample and DeformConv, or compute them wrongly, get plain operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ..modules import export_safe
from ._wrap import wrap_when_imported

NAME = "ultralytics.engine.exporter"
TRIED = ("onnx", "torchscript", "openvino")  # with GridSample; TensorRT is known to build engines that are wrong
GRID_SAMPLE_OPSET = 16


def apply() -> None:
    """Extend the exporter, now or once it is imported. Calling it again does nothing."""
    wrap_when_imported(NAME, "Exporter", "__call__", _safely)


def sampling(kind: str, opset: int | None) -> AbstractContextManager[None]:
    """The block in which a model is to be exported to a format, with an ONNX opset or the exporter's own choice."""
    return (
        nullcontext() if kind.lower() in TRIED and (opset or GRID_SAMPLE_OPSET) >= GRID_SAMPLE_OPSET else export_safe()
    )


def _safely(stock: Callable) -> Callable:
    def export(self, *args, **kwargs):
        with sampling(str(self.args.format), self.args.opset):
            return stock(self, *args, **kwargs)

    return export
