"""EMA, LSK, LSKA, CPCA, MLCA, CAA, StripPooling and ParNet: options, reach, odd widths and bad arguments."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from yolo_attn.modules import CAA, CPCA, EMA, LSK, LSKA, MLCA, ParNet, StripPooling
from yolo_attn.modules._precision import saturated
from yolo_attn.modules.lska import DILATION
from yolo_attn.modules.mlca import pooling

from .conftest import TOLERANCE
from .reference import REFERENCES
from .reference.lska import lska
from .tiny import generic


@pytest.mark.parametrize("make, dim, reference", [
    (partial(EMA, num_groups=1), 6, REFERENCES["EMA"]),
    (EMA, 6, REFERENCES["EMA"]),
    (LSK, 3, REFERENCES["LSK"]),
    (partial(LSKA, kernel_size=11), 3, partial(lska, kernel_size=11)),
    (LSKA, 3, partial(lska, kernel_size=23)),
    (partial(CPCA, reduction=16), 3, REFERENCES["CPCA"]),
    (partial(MLCA, local_size=2, local_weight=0.25), 6, REFERENCES["MLCA"]),
    (partial(MLCA, local_size=7, gamma=0.5, b=0), 6, REFERENCES["MLCA"]),
    (partial(CAA, h_kernel_size=1, v_kernel_size=9), 3, REFERENCES["CAA"]),
])  # fmt: skip
def test_options(make, dim: int, reference) -> None:
    """An option would mean something else than the paper says, or an odd width lose a channel."""
    torch.manual_seed(0)
    module, x = generic(make(dim)).double(), torch.randn(2, dim, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(module(x), reference(module, x), **TOLERANCE[torch.float64])


def reach(module: nn.Module, size: int) -> tuple[int, int]:
    """Height and width of what the gate of the middle pixel depends on."""
    x = torch.ones(1, 2, size, size, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((generic(module).double()(x) / x)[0, 0, size // 2, size // 2], x)
    seen = (slope[0].abs() > 1e-12).any(0)
    return int(seen.any(1).sum()), int(seen.any(0).sum())


@pytest.mark.parametrize("kernel_size", DILATION)
def test_reach_of_lska(kernel_size: int) -> None:
    """The strips would stand for another kernel than the one asked for, with gaps or shorter."""
    torch.manual_seed(0)
    assert reach(LSKA(2, kernel_size), kernel_size + 4) == (kernel_size, kernel_size)


def test_reach_of_the_others() -> None:
    """A kernel would be smaller than the paper's, or across where it is to be down."""
    torch.manual_seed(0)
    assert reach(CAA(2, 5, 9), 21) == (9 + 6, 5 + 6)
    assert reach(LSK(2), 41) == (23 + 6, 23 + 6)  # the selection sees 7x7 of what the larger kernel sees


@pytest.mark.parametrize("size", [1, 2, 4, 5, 7, 10, 33])
@pytest.mark.parametrize("bins", [1, 5, 8])
def test_pooling(size: int, bins: int) -> None:
    """Patches would be other ones than those of adaptive average pooling: weights of others would not fit."""
    x = torch.randn(2, 3, size, dtype=torch.float64)
    torch.testing.assert_close(x @ pooling(x, size, bins).T, F.adaptive_avg_pool1d(x, bins))


def test_kernels_of_mlca() -> None:
    """The kernel along the channels would be another one than ECA's, or even."""
    widths = {1: 1, 8: 3, 16: 3, 64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}
    assert {dim: MLCA(dim).conv.kernel_size[0] for dim in widths} == widths


def test_groups_of_ema() -> None:
    """The default would fail at a width of some scale, or not be the official one where that divides the channels."""
    groups = {1: 1, 16: 16, 24: 24, 37: 1, 48: 24, 64: 32, 80: 20, 144: 24, 256: 32, 640: 32}
    assert {dim: EMA(dim).num_groups for dim in groups} == groups


@pytest.mark.parametrize("training", [True, False])
def test_one_pixel_of_one_group(training: bool) -> None:
    """nn.GroupNorm raises where a channel has one value."""
    x = torch.randn(1, 4, 1, 1)
    assert EMA(4, 1).train(training)(x).isfinite().all()


@pytest.mark.parametrize("cls", [LSK, LSKA, CPCA])
def test_float16_saturates(cls: type[nn.Module]) -> None:
    """A gate that grows with its input would give infinities in half precision, and the layers behind it NaN."""
    torch.manual_seed(0)
    module, x = generic(cls(4)), torch.randn(1, 4, 9, 9) * 1000
    assert (module(x).abs() > 65504).any()
    y = module.half()(x.half())
    assert y.isfinite().all() and (y.abs() == 65504).any()


def test_other_types_do_not_saturate() -> None:
    """A divergence of a training in float32 would be hidden, or bfloat16 be cut for nothing."""
    for dtype in (torch.float32, torch.bfloat16):
        assert saturated(torch.tensor(1e30, dtype=dtype)) > 1e29


@pytest.mark.parametrize("make, message", [
    (lambda: EMA(8, 3), "EMA: num_groups must divide dim, got num_groups=3 and dim=8. Choose one of 1, 2, 4, 8"),
    (lambda: EMA(0), "EMA: dim must be a positive integer, got 0"),
    (lambda: EMA(8, 0), "EMA: num_groups must be a positive integer, got 0"),
    (lambda: LSK(0), "LSK: dim must be a positive integer, got 0"),
    (lambda: LSKA(8, 9), "LSKA: kernel_size must be one of 7, 11, 23, 35, 41, 53, 65, got 9. Choose one of these"),
    (lambda: LSKA(8, 7.0), "LSKA: kernel_size must be a positive integer, got 7.0"),
    (lambda: CPCA(8, 0), "CPCA: reduction must be a positive integer, got 0"),
    (lambda: MLCA(8, 0), "MLCA: local_size must be a positive integer, got 0"),
    (lambda: MLCA(8, gamma=0), "MLCA: gamma must be a number from 0.1, got 0"),
    (lambda: MLCA(8, b="x"), "MLCA: b must be a number from -64 to 64, got 'x'"),
    (lambda: MLCA(8, local_weight=2), "MLCA: local_weight must be a number from 0 to 1, got 2"),
    (lambda: CAA(8, 4), "CAA: h_kernel_size must be odd, got 4. Choose 3 or 5"),
    (lambda: CAA(8, 3, 0), "CAA: v_kernel_size must be a positive integer, got 0"),
    (lambda: StripPooling(-1), "StripPooling: dim must be a positive integer, got -1"),
    (lambda: ParNet(2.5), "ParNet: dim must be a positive integer, got 2.5"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read an error from deep inside, or get another module than asked for."""
    with pytest.raises(ValueError, match=message):
        make()
