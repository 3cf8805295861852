"""Properties of every registered module; the registry drives them."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from torch import Tensor, nn

import yolo_attn
from yolo_attn.modules import AFF, GCT, MS_CAM, SE, DATBlock, DAttention, iAFF

from .conftest import TOLERANCE
from .reference import REFERENCES

NAMES = [name for name in yolo_attn.names() if yolo_attn.get(name).full_name.startswith("yolo_attn.")]
SIZES = [(1, 1), (1, 7), (7, 5), (20, 20)]
each_module = pytest.mark.parametrize("name", NAMES)


def build(name: str) -> nn.Module:
    """A tiny instance in eval mode whose parameters are generic: no zeros or ones left from initialisation."""
    torch.manual_seed(0)
    spec = yolo_attn.get(name)
    return generic(spec.cls(*spec.tiny))


def generic(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.3)
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(std=0.3)
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def inputs(name: str, size: tuple[int, int] = (7, 5), batch: int = 2) -> list[Tensor]:
    torch.manual_seed(1)
    spec = yolo_attn.get(name)
    return [torch.randn(batch, spec.tiny[0], *size) for _ in range(2 if spec.channels == "fuse" else 1)]


@each_module
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)], ids=str)
def test_equals_the_reference(name: str, size: tuple[int, int]) -> None:
    """The equations of the paper would not be what is computed."""
    module = build(name).double()
    x = [t.double() for t in inputs(name, size)]
    torch.testing.assert_close(module(*x), REFERENCES[name](module, *x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("offset_range", [-1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("options", [
    {"pe": "dwc"}, {"pe": "none", "kernel_size": 2}, {"pe": "table", "q_size": (3, 4)}, {"pe": "log_cpb"},
    {"pe": "fixed", "q_size": [5, 3]}, {"no_off": True},
], ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (1, 3)], ids=str)
def test_every_option_of_dattention(options: dict, stride: int, offset_range: float, size: tuple[int, int]) -> None:
    """An option of the original would not mean what it means there, or would fail on a map of one pixel."""
    if options.get("kernel_size", 1) % 2 == 0 and stride == 1:
        stride = 2
    torch.manual_seed(0)
    module = DAttention(8, num_heads=4, num_groups=2, stride=stride, offset_range=offset_range, **options)
    module = generic(module).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    y = module(x)
    assert y.isfinite().all()
    if module.pe != "fixed" or (size == (5, 3) and stride == 1):  # elsewhere its table is interpolated
        torch.testing.assert_close(y, REFERENCES["DAttention"](module, x), **TOLERANCE[torch.float64])


@each_module
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_batch(name: str, size: tuple[int, int], batch: int) -> None:
    """A map of one pixel, one image in training, or a long thin map would fail or give NaN."""
    module = build(name).train()
    x = inputs(name, size, batch)
    y = module(*x)
    assert y.shape == x[0].shape
    assert y.isfinite().all()
    if y.requires_grad:
        y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@each_module
def test_images_do_not_mix(name: str) -> None:
    """An image's result would depend on the others of its batch."""
    module, x = build(name), inputs(name, batch=3)
    torch.testing.assert_close(module(*x)[1:2], module(*(t[1:2] for t in x)), **TOLERANCE[torch.float32])


@each_module
def test_every_parameter_learns(name: str) -> None:
    """A parameter would be carried along without ever getting a gradient."""
    module, x = build(name).train(), [t.requires_grad_() for t in inputs(name, batch=16)]
    (module(*x) ** 2).sum().backward()
    silent = {k.split(".")[0] for k, p in module.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == {"iAFF": {"global_att2"}}.get(name, set())  # unused by the official code unless own_global=True


@each_module
def test_half_precision(name: str) -> None:
    """Validation in half precision, or training under autocast, would stop with a type error or differ."""
    module, x = build(name), inputs(name)
    want = module(*x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(*x).float(), want, **TOLERANCE[torch.bfloat16])
    got = module.half()(*(t.half() for t in x))
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), want, **TOLERANCE[torch.bfloat16])


@each_module
def test_large_activations_in_half_precision(name: str) -> None:
    """Sums of squares over a map would overflow to infinity."""
    module = build(name).half()
    x = [torch.randn(1, t.shape[1], 80, 80).mul(8).half() for t in inputs(name, batch=1)]
    assert module(*x).isfinite().all()


@each_module
def test_copies_after_a_forward(name: str) -> None:
    """EMA copies and checkpoints would fail or differ, because a forward left something on the module."""
    module, x = build(name), inputs(name)
    before = set(vars(module))
    want = module(*x)
    assert set(vars(module)) == before
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(*x), want)


@each_module
def test_documented(name: str) -> None:
    """A user would not learn shapes, errors, source, or how the module differs from its paper."""
    spec = yolo_attn.get(name)
    doc = inspect.getdoc(spec.cls)
    assert all(part in doc for part in ("Args:", "Shape:", "Raises:", "References:", "Differs:")), name
    assert spec.paper and spec.paper.removeprefix("arXiv:") in doc
    assert [p for p in spec.parameters if p not in doc] == []


def test_only_torch_layers() -> None:
    """Restricted loading would refuse a checkpoint, because a layer comes from another package."""
    for name in NAMES:
        for module in build(name).modules():
            assert type(module).__module__.startswith(("torch.nn.", "yolo_attn.")), type(module)


def test_gct_starts_as_the_identity() -> None:
    """Inserted into a trained network, GCT would change its output at once."""
    x = torch.randn(2, 8, 5, 5)
    for options in ({}, {"mode": "l1"}, {"mode": "l1", "after_relu": True}):
        assert torch.equal(GCT(8, **options)(x), x)


def test_one_image_in_training_leaves_the_running_statistics() -> None:
    """One image behind a global pooling would spoil the statistics, or raise."""
    module = MS_CAM(8, 2).train()
    before = module.global_att[2].running_mean.clone()
    module(torch.randn(1, 8, 5, 5))
    assert torch.equal(module.global_att[2].running_mean, before)
    module(torch.randn(2, 8, 5, 5))
    assert not torch.equal(module.global_att[2].running_mean, before)


def test_iaff_with_its_own_global_context() -> None:
    """The paper's definition would not be reachable."""
    module = generic(iAFF(8, 2, own_global=True)).double()
    x, y = torch.randn(2, 2, 8, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(module(x, y), REFERENCES["iAFF"](module, x, y), **TOLERANCE[torch.float64])
    own = module(x, y)
    module.own_global = False
    assert not torch.allclose(module(x, y), own)


def test_fusion_of_two_widths() -> None:
    """Maps of different widths could not be fused."""
    module = generic(AFF(8, 2, in_channels=[6, 8])).double()
    x, y = torch.randn(2, 6, 3, 3).double(), torch.randn(2, 8, 3, 3).double()
    torch.testing.assert_close(module([x, y]), REFERENCES["AFF"](module, x, y), **TOLERANCE[torch.float64])


def test_pooled_keys_are_as_many_as_the_official_ones() -> None:
    """no_off would pool a map that the stride doesn't divide to another number of keys."""
    x = torch.randn(1, 8, 5, 7)
    count = lambda k, s: DAttention(8, num_heads=2, kernel_size=k, stride=s, no_off=True).attend(x)[1].shape[2:4]  # noqa: E731
    assert count(2, 2) == (2, 3) and count(3, 2) == (3, 4)
    moved = DAttention(8, num_heads=2, stride=2, no_off=True).attend(x)[1]
    assert moved.max() == 1  # clamped, as offset_range is negative


def test_head_dim_stands_for_num_heads() -> None:
    """Heads of one width at every scale, as in the neck's YAML, would not be had."""
    assert DAttention(64, head_dim=16).num_heads == 4 and DATBlock(64, head_dim=32).attn.num_heads == 2


def test_offset_network_without_effect_is_frozen() -> None:
    """no_off would train parameters that do nothing."""
    assert not any(p.requires_grad for p in DAttention(8, no_off=True).conv_offset.parameters())
    assert all(p.requires_grad for p in DAttention(8).parameters())


def test_dropout_is_for_training() -> None:
    """Dropout would act in validation, or not in training."""
    x = torch.randn(1, 8, 5, 5)
    for options in ({"attn_drop": 0.5}, {"proj_drop": 0.5}):
        module = DAttention(8, num_heads=2, **options)
        plain = DAttention(8, num_heads=2)
        plain.load_state_dict(module.state_dict())
        assert torch.equal(module.eval()(x), plain(x)) and not torch.equal(module.train()(x), plain(x))
    block = DATBlock(8, num_heads=2, drop=0.5)
    assert torch.equal(block.eval()(x), block(x)) and not torch.equal(block.train()(x), block(x))
    assert block.attn.proj_drop.p == block.mlp.drop.p == 0.5


def test_fixed_bias_is_interpolated() -> None:
    """On a map of another size the learned biases would not be those of the nearest queries and keys."""
    module = generic(DAttention(8, q_size=(3, 4), num_heads=2, pe="fixed"))
    small = module._fixed_bias((3, 4), (3, 4)).reshape(2, 3, 4, 3, 4)
    large = module._fixed_bias((5, 7), (5, 7)).reshape(2, 5, 7, 5, 7)  # twice as fine, ends included
    torch.testing.assert_close(large[:, ::2, ::2, ::2, ::2], small)


def test_options_of_the_block() -> None:
    """An option of DATBlock would not reach the layer that it is for."""
    options = {"num_heads": 2, "num_groups": 2, "stride": 2, "offset_range": 3, "pe": "table", "q_size": (7, 7)}
    block = DATBlock(8, kernel_size=5, mlp_ratio=2, layer_scale=0.1, **options)
    assert {k: getattr(block.attn, k) for k in options} == options
    assert block.attn.conv_offset[0].kernel_size == (5, 5)
    assert block.mlp.linear1[0].out_channels == 16
    assert block.scale1.weight.tolist() == pytest.approx([0.1] * 8) == block.scale2.weight.tolist()
    assert type(DATBlock(8, conv_mlp=False).mlp).__name__ == "TransformerMLP"
    x, y = torch.randn(2, 8, 6, 6), generic(block)
    torch.testing.assert_close(
        y.double()(x.double()), REFERENCES["DATBlock"](y, x.double()), **TOLERANCE[torch.float64]
    )


@pytest.mark.parametrize("make, message", [
    (lambda: SE(0), "SE: dim must be a positive integer, got 0"),
    (lambda: SE(8, reduction=0.5), "SE: reduction must be a positive integer, got 0.5"),
    (lambda: GCT(8, mode="l3"), "GCT: mode must be one of l2, l1, got 'l3'"),
    (lambda: GCT(8, epsilon=0), "GCT: epsilon must be a number from 1e-12, got 0"),
    (lambda: DAttention(12), "num_heads must divide dim, got num_heads=8 and dim=12. Choose one of 1, 2, 3, 4"),
    (lambda: DAttention(64, num_groups=3), "num_groups must divide dim, got num_groups=3 and dim=64"),
    (lambda: DAttention(64, num_heads=4, num_groups=8, pe="log_cpb"), "num_groups must divide num_heads"),
    (lambda: DAttention(64, head_dim=48), "head_dim must divide dim, got head_dim=48 and dim=64"),
    (lambda: DAttention(64, kernel_size=4), "must be odd or equal to stride, got 4 with stride 1. Choose 5"),
    (lambda: DAttention(64, pe="table"), "q_size must be given for pe='table', got None"),
    (lambda: DAttention(64, pe="sine"), "pe must be one of dwc, fixed, log_cpb, table, none, got 'sine'"),
    (lambda: DAttention(64, [20, 20, 3]), r"q_size must be a positive integer or two of them, got \[20, 20, 3\]"),
    (lambda: DAttention(64, 20.0), "q_size must be a positive integer or two of them, got 20.0"),
    (lambda: DAttention(64, offset_range="abc"), "offset_range must be a number, got 'abc'"),
    (lambda: DAttention(64, attn_drop=2), "attn_drop must be a number from 0 to 1, got 2"),
    (lambda: DAttention(64, no_off=1), "no_off must be True or False, got 1"),
    (lambda: DAttention(64, num_heads=5, head_dim=32), "give num_heads or head_dim, got 5 and 32 with 64 channels"),
    (lambda: DATBlock(12), "num_heads must divide dim"),
    (lambda: DATBlock(16, mlp_ratio=0), "TransformerMLPWithConv: expansion must be a number from 0.0625, got 0"),
    (lambda: GCT(8, "x"), "GCT: epsilon must be a number from 1e-12, got 'x'"),
    (lambda: SE(8, 2, "maybe"), "SE: bias must be True or False, got 'maybe'"),
    (lambda: AFF(8, in_channels=[8, 8, 8]), "AFF: in_channels must hold two widths, got 3"),
    (lambda: AFF(8)([torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 1, 1)]), "same height and width, got 4x4, 1x1"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
