"""TimmAttn: every layer of timm as a row."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import create_attn
from ultralytics.nn.tasks import DetectionModel

from yolo_attn.modules import TimmAttn
from yolo_attn.modules.timm_attn import LAYERS

from .conftest import TOLERANCE
from .tiny import generic

OPTIONS: dict[str, dict[str, Any]] = {
    "bottleneck": {"feat_size": (14, 8)},
    "ge": {"use_mlp": False},
    "halo": {"block_size": 2},
}
HEAD = [[[-1], 1, "Detect", ["nc"]]]


@pytest.mark.parametrize("layer", LAYERS)
def test_is_timms_layer(layer: str) -> None:
    """A row would compute something else than what timm calls by that name."""
    options = OPTIONS.get(layer, {})
    ours = generic(TimmAttn(32, layer, options))
    theirs = create_attn(layer, 32, **options).eval()
    theirs.load_state_dict(ours.attn.state_dict())
    x = torch.randn(2, 32, 14, 14 if layer == "bat" else 8)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE[torch.float32])


@pytest.mark.parametrize("layer", [*LAYERS, "Halo", "BAT", "GE", "Bottleneck"])
@pytest.mark.parametrize("size", [(1, 1), (5, 9)], ids=str)
def test_any_size_and_one_image(layer: str, size: tuple[int, int]) -> None:
    """A detector could not be built, which Ultralytics tries with another size, or fail at an epoch's last image."""
    module, x = TimmAttn(16, layer), torch.randn(1, 16, *size, requires_grad=True)
    for each in (module.train(), module.eval()):
        y = each(x)
        assert y.shape == x.shape and y.isfinite().all()
    assert all(m.training == module.training for m in module.modules())


@pytest.mark.parametrize("layer, options", [
    ("lambda", {"r": None, "feat_size": 6}), ("bottleneck", {}),
])  # fmt: skip
def test_layers_of_one_size(layer: str, options: dict[str, Any]) -> None:
    """The options of timm that fix a size would fail at every other one."""
    assert TimmAttn(16, layer, options)(torch.randn(2, 16, 5, 4)).shape == (2, 16, 5, 4)


@pytest.mark.parametrize("layer", LAYERS)
def test_copies(layer: str) -> None:
    """The average of weights, a checkpoint or a frozen layer would not be what was trained."""
    module, x = generic(TimmAttn(16, layer)), torch.randn(2, 16, 7, 7)
    for p in [*module.parameters()][:1]:
        p.requires_grad_(False)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), module(x))
        assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in module.parameters()]
        assert twin.training == module.training
    half = pickle.loads(pickle.dumps(copy.deepcopy(module).half()))
    assert {p.dtype for p in half.parameters()} <= {torch.float16}
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert all(p.any() for p in module.parameters())


@pytest.mark.parametrize("layer", LAYERS)
def test_channels_last(layer: str) -> None:
    """`yolo val` would stop, which turns a model's layout on a CPU and so does training on a GPU."""
    module, x = generic(TimmAttn(16, layer)), torch.randn(2, 16, 7, 7)
    want = module(x)
    module.to(memory_format=torch.channels_last)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), want, **TOLERANCE[torch.float32])


def model(*rows: Sequence[Any]) -> dict[str, Any]:
    return {
        "nc": 2,
        "scales": {"n": [1.0, 1.0, 1024]},
        "scale": "n",
        "backbone": [*([-1, 1, "Conv", [16, 3, 2]] for _ in range(3)), *rows],
        "head": HEAD,
    }


def test_a_checkpoint_in_a_fresh_process(run, tmp_path: Path) -> None:
    """best.pt would be refused by ULTRALYTICS_SAFE_LOAD=1, because it holds classes of timm."""
    rows = [[-1, 1, "TimmAttn", [layer]] for layer in LAYERS]
    rows += [[-1, 1, "TimmAttn", ["cbam", {"rd_ratio": 0.5}]], [-1, 1, "Residual", ["TimmAttn", "se", {"bias": False}]]]
    built, x = DetectionModel(model(*rows), verbose=False).eval(), torch.rand(1, 3, 64, 64)
    want = built(x)[0].double().sum()
    torch.save({"model": built, "train_args": {}}, tmp_path / "saved.pt")
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import torch; from ultralytics import YOLO; model = YOLO('saved.pt').model.eval(); "
        "print('sum', model(torch.load('x.pt'))[0].double().sum().item())"
    )
    for restricted in "01":
        done = run("python", "-c", code, ULTRALYTICS_SAFE_LOAD=restricted)
        assert float(done.stdout.split("sum")[-1]) == pytest.approx(want.item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [
    pytest.param(layer, marks=pytest.mark.xfail(strict=True)) if layer in ("bat", "halo") else layer for layer in LAYERS
])  # fmt: skip
def test_to_onnx(layer: str, tmp_path: Path) -> None:
    """A layer would not be exported, or one that the documentation warns of could be."""
    built, x = DetectionModel(model([-1, 1, "TimmAttn", [layer]]), verbose=False).eval(), torch.rand(1, 3, 96, 96)
    built(x)
    torch.onnx.export(built.model[:-1], (x,), tmp_path / "x.onnx", opset_version=18, dynamo=False)


def test_rows() -> None:
    """Keyword arguments would not reach timm, in a row of its own or inside another module."""
    options = {"rd_ratio": 0.5, "spatial_kernel_size": "3"}  # Ultralytics hands on texts as they are
    built = DetectionModel(
        model([-1, 1, "TimmAttn", ["cbam", options]], [-1, 1, "Residual", ["TimmAttn", "cbam", options]]), verbose=False
    ).model
    for layer in (built[3], built[4].fn):
        assert isinstance(layer, TimmAttn) and layer.attn.spatial.conv.conv.kernel_size == (3, 3)
        assert layer.attn.channel.fc1.out_channels == 8


@pytest.mark.parametrize("make, error, message", [
    (lambda: TimmAttn(16, "cbma"), ValueError, "layer must be a name of timm's, got 'cbma'. Did you mean cbam"),
    (lambda: TimmAttn(16, 3), ValueError, "layer must be a name of timm's, got 3"),
    (lambda: TimmAttn(16, "se", {"rd_ration": 1}), TypeError, "se has no 'rd_ration' here. Did you mean rd_ratio"),
    (lambda: TimmAttn(16, "splat", {"padding": 0}), TypeError, "splat has no 'padding' here. A row keeps channels"),
    (lambda: TimmAttn(16, "lambda", {"r": 2.5}), ValueError, "r must be a positive integer, got 2.5"),
    (lambda: TimmAttn(16, "ela", {"kernel_size": 4}), ValueError, "kernel_size must be odd, got 4"),
    (lambda: TimmAttn(16, "cbam", {"spatial_kernel_size": 4}), ValueError, "spatial_kernel_size must be odd, got 4"),
    (lambda: TimmAttn(16, "sk", {"stride": 2}), TypeError, "sk has no 'stride' here. A row keeps channels and size"),
    (lambda: TimmAttn(18, "halo"), ValueError, "timm can't make halo of 18 channels"),
    (lambda: TimmAttn(16, "bottleneck", {"feat_size": 0}), ValueError, "feat_size must be a positive integer"),
    (lambda: TimmAttn(16, "bat", {"block_size": 0}), ValueError, "block_size must be a positive integer, got 0"),
    (lambda: TimmAttn(16, "lambda", {"r": 4}), ValueError, "r must be odd, got 4"),
    (lambda: TimmAttn(16, "cbam", 0.25), TypeError, "options must be a mapping, got 0.25"),
    (lambda: TimmAttn(0, "se"), ValueError, "TimmAttn: dim must be a positive integer"),
])  # fmt: skip
def test_bad_arguments(make, error: type[Exception], message: str) -> None:
    """timm swallows a misspelt argument, and stops at others with an assertion without words."""
    with pytest.raises(error, match=message):
        make()
