"""Which exports do without sampling operations."""

from __future__ import annotations

import runpy
from types import SimpleNamespace

import pytest
from torch import nn
from ultralytics.engine.exporter import Exporter
from yolo_attn.patches import export

from yolo_attn.modules import CrossFormerBlock, _export, export_safe
from yolo_attn.modules._export import is_export_safe

from ..models import logged


@pytest.mark.parametrize("kind, opset, safe", [
    ("onnx", None, False), ("onnx", 17, False), ("torchscript", None, False), ("OpenVINO", None, False),
    ("engine", None, True), ("trt", None, True), ("mnn", None, True), ("coreml", None, True), ("onnx", 14, True),
])  # fmt: skip
def test_formats(kind: str, opset: int | None, safe: bool) -> None:
    """An engine of TensorRT would be built with GridSample, and find boxes in wrong places."""
    call = export._safely(lambda self, model: is_export_safe())
    assert call(SimpleNamespace(args=SimpleNamespace(format=kind, opset=opset, dynamic=False)), nn.ReLU()) is safe
    assert not is_export_safe()


def test_as_a_statement() -> None:
    """`yolo_attn.export_safe()` without `with` would do nothing, and not say so."""
    held = export_safe()
    assert is_export_safe()
    with export_safe():
        pass
    assert is_export_safe()
    with held:
        assert is_export_safe()
    assert not is_export_safe()


@pytest.mark.parametrize("dynamic", [False, True])
def test_one_side_of_the_group_size(dynamic: bool) -> None:
    """A file for all sizes would be wrong at some, and nobody know."""
    arguments = SimpleNamespace(format="onnx", opset=None, dynamic=dynamic)
    with logged() as lines:
        export._safely(lambda self, model: None)(SimpleNamespace(args=arguments), model=CrossFormerBlock(64, 2))
    assert ["maps up to 7 pixels high or wide" in line for line in lines] == [True] * dynamic


@pytest.mark.parametrize("word, safe", [("1", True), ("yes", True), ("0", False), ("", False), ("False", False)])
def test_the_switch_of_a_process(word: str, safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that means no would turn it on."""
    monkeypatch.setenv("YOLO_ATTN_EXPORT_SAFE", word)
    assert runpy.run_path(_export.__file__)["is_export_safe"]() is safe


def test_the_exporter_is_extended() -> None:
    """The choice above would be made nowhere, or twice."""
    assert not hasattr(Exporter.__call__.__wrapped__, "__wrapped__")
