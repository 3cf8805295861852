"""Exports: formats whose runtimes lack GridSample and DeformConv, or compute them wrongly, get plain operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from ultralytics.utils import LOGGER

from ..modules import CrossFormerBlock, export_safe
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
    def export(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.args.dynamic:
            _tell_one_side(model)
        with sampling(str(self.args.format), self.args.opset):
            return stock(self, model, *args, **kwargs)

    return export


def _tell_one_side(model: nn.Module) -> None:
    """Say where an export does not hold for all sizes."""
    sizes = sorted({each.group_size for each in model.modules() if isinstance(each, CrossFormerBlock)})
    if sizes:
        LOGGER.warning(
            f"CrossFormerBlock makes one group of maps up to {' or '.join(map(str, sizes))} pixels high or wide, and "
            "several of larger ones; the exported file always does what imgsz asks for. Run it on images whose maps "
            "lie on the same side, or export for both."
        )
