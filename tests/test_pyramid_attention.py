"""Spatial-reduction attention: options, sizes and bad arguments."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules import PyramidAttention

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 1), (1, 5), (2, 4)], ids=str)
@pytest.mark.parametrize("ratio", [1, 2, 3, 8])
def test_every_reduction(ratio: int, size: tuple[int, int]) -> None:
    """A map that the ratio does not divide, or that is smaller than it, would fail or have other keys."""
    torch.manual_seed(0)
    module = generic(PyramidAttention(8, 2, ratio)).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["PyramidAttention"](module, x), **TOLERANCE[torch.float64])


def test_options() -> None:
    """Heads by width, or dropout in training alone, would not be had."""
    assert PyramidAttention(64, head_dim=16).num_heads == 4
    x = torch.randn(1, 8, 5, 5)
    for options in ({"attn_drop": 0.5}, {"proj_drop": 0.5}):
        module, plain = PyramidAttention(8, 2, **options), PyramidAttention(8, 2)
        plain.load_state_dict(module.state_dict())
        assert torch.equal(module.eval()(x), plain(x)) and not torch.equal(module.train()(x), plain(x))


@pytest.mark.parametrize("make, message", [
    (lambda: PyramidAttention(12), "PyramidAttention: num_heads must divide dim, got num_heads=8 and dim=12"),
    (lambda: PyramidAttention(64, 5, head_dim=32), "give num_heads or head_dim, got 5 and 32 with 64 channels"),
    (lambda: PyramidAttention(64, sr_ratio=0), "sr_ratio must be a positive integer, got 0"),
    (lambda: PyramidAttention(64, attn_drop=2), "attn_drop must be a number from 0 to 1, got 2"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
