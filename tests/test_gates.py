"""SE, GCT and the AFF family: options, starts and bad arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_attn.modules import AFF, GCT, MS_CAM, SE, Residual, iAFF

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


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


@pytest.mark.parametrize("size", [1, 2, 5])
def test_residual_refuses_another_size(size: int) -> None:
    """A map of one pixel would be added to all pixels, silently; any other would be torch's error, without a name."""
    residual = Residual(8, "DeformConv", (8, 8, 3, 5))
    message = rf"Residual: DeformConv must keep height and width, got \({size * 5}, 5\) in and \({size}, 1\) out"
    with pytest.raises(ValueError, match=message):
        residual(torch.rand(1, 8, size * 5, 5))


@pytest.mark.parametrize("make, message", [
    (lambda: SE(0), "SE: dim must be a positive integer, got 0"),
    (lambda: SE(8, reduction=0.5), "SE: reduction must be a positive integer, got 0.5"),
    (lambda: GCT(8, mode="l3"), "GCT: mode must be one of l2, l1, got 'l3'"),
    (lambda: GCT(8, epsilon=0), "GCT: epsilon must be a number from 1e-12, got 0"),
    (lambda: GCT(8, "x"), "GCT: epsilon must be a number from 1e-12, got 'x'"),
    (lambda: SE(8, 2, "maybe"), "SE: bias must be True or False, got 'maybe'"),
    (lambda: AFF(8, in_channels=[8, 8, 8]), "AFF: in_channels must hold two widths, got 3"),
    (lambda: AFF(8)([torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 1, 1)]), "same height and width, got 4x4, 1x1"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()


def test_one_image_of_many_pixels_is_normalised_by_itself() -> None:
    """Training with batch=1 would not move any running statistics, but for those behind a pooling."""
    module = MS_CAM(8, 2).train()
    module(torch.randn(1, 8, 3, 2))
    assert all(norm.num_batches_tracked == 1 for norm in module.local_att if isinstance(norm, nn.BatchNorm2d))
    assert all(norm.num_batches_tracked == 0 for norm in module.global_att if isinstance(norm, nn.BatchNorm2d))
