"""Exports: formats whose runtimes lack GridSample and DeformConv, or compute them wrongly, get plain operations."""

from __future__ import annotations

from collections.abc import Callable

from ..modules import export_safe
from ._wrap import wrap_when_imported

NAME = "ultralytics.engine.exporter"
TRIED = ("onnx", "torchscript", "openvino")  # with GridSample; TensorRT is known to build engines that are wrong
GRID_SAMPLE_OPSET = 16


def apply() -> None:
    """Extend the exporter, now or once it is imported. Calling it again does nothing."""
    wrap_when_imported(NAME, "Exporter", "__call__", _safely)


def _safely(stock: Callable) -> Callable:
    def export(self, *args, **kwargs):
        if str(self.args.format).lower() in TRIED and (self.args.opset or GRID_SAMPLE_OPSET) >= GRID_SAMPLE_OPSET:
            return stock(self, *args, **kwargs)
        with export_safe():
            return stock(self, *args, **kwargs)

    return export
