"""Deformable attention and its block: options, sizes and bad arguments."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules import DATBlock, DAttention
from yolo_attn.modules.dattention import POSITION_ENCODINGS

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


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


def test_pooled_keys_are_as_many_as_the_official_ones() -> None:
    """no_off would pool a map that the stride doesn't divide to another number of keys."""
    x = torch.randn(1, 8, 5, 7)
    count = lambda k, s: DAttention(8, num_heads=2, kernel_size=k, stride=s, no_off=True).attend(x)[1].shape[2:4]  # noqa: E731
    assert count(2, 2) == (2, 3) and count(3, 2) == (3, 4)
    assert count(6, 6) == (1, 1) and count(5, 5) == (1, 1)  # one key for a map that is smaller than the stride
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


@pytest.mark.parametrize("pe", POSITION_ENCODINGS)
def test_every_position_encoding_traced(pe: str) -> None:
    """An export at the map's size in training would hold for that size alone, where a table needs no interpolation."""
    torch.manual_seed(0)
    module = generic(DAttention(8, q_size=(5, 3), num_heads=2, pe=pe))
    graph = torch.jit.trace(module, torch.randn(1, 8, 5, 3), check_trace=False)
    for x in (torch.randn(1, 8, 5, 3), torch.randn(2, 8, 7, 4)):
        torch.testing.assert_close(graph(x), module(x), **TOLERANCE["graph"])


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
    (lambda: DAttention(64, offset_range=float("inf")), "offset_range must be a number, got inf"),
    (lambda: DAttention(64, offset_range=10**400), "offset_range must be a number, got 1000"),
    (lambda: DAttention(64, attn_drop=2), "attn_drop must be a number from 0 to 1, got 2"),
    (lambda: DAttention(64, no_off=1), "no_off must be True or False, got 1"),
    (lambda: DAttention(64, num_heads=5, head_dim=32), "give num_heads or head_dim, got 5 and 32 with 64 channels"),
    (lambda: DATBlock(12), "num_heads must divide dim"),
    (lambda: DATBlock(16, mlp_ratio=0), "TransformerMLPWithConv: expansion must be a number from 0.0625, got 0"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
