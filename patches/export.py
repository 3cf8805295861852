"""Exports: formats whose runtimes lack GridSample and DeformConv, or compute them wrongly, get plain operations."""

from __future__ import annotations

import sys
from collections.abc import Callable

try:
    from .autoload._yolo_attn_autoload import watch
except ModuleNotFoundError:  # in a wheel it lies where Python finds it at its start
    from _yolo_attn_autoload import watch

from ..modules import export_safe
from ._wrap import wrap

NAME = "ultralytics.engine.exporter"
TRIED = ("onnx", "torchscript", "openvino")  # with GridSample; TensorRT is known to build engines that are wrong
GRID_SAMPLE_OPSET = 16


def apply() -> None:
    """Extend the exporter, now or once it is imported. Calling it again does nothing."""
    exporter = getattr(sys.modules.get(NAME), "Exporter", None)
    if exporter is None:
        watch(NAME, apply)
    elif not hasattr(exporter.__call__, "__wrapped__"):
        wrap(exporter, "__call__", _safely)


def _safely(stock: Callable) -> Callable:
    def export(self, *args, **kwargs):
        if str(self.args.format).lower() in TRIED and (self.args.opset or GRID_SAMPLE_OPSET) >= GRID_SAMPLE_OPSET:
            return stock(self, *args, **kwargs)
        with export_safe():
            return stock(self, *args, **kwargs)

    return export
