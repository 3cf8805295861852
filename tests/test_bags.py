"""Sums of samples as bags of an embedding, against grid_sample and finite differences."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from yolo_attn import export_safe
from yolo_attn.modules._bags import Products, Sums, framed
from yolo_attn.modules._sampling import Sampler

from .conftest import TOLERANCE

SHAPES = {  # height, width, points, and channels of a group
    "one pixel": (1, 1, 9, 2),
    "more points than pixels": (1, 2, 40, 2),
    "one point": (3, 4, 1, 2),
    "some": (5, 3, 4, 2),
    "many channels": (4, 3, 1, 6),
}


def example(height: int, width: int, points: int, channels: int) -> list[Tensor]:
    """Maps of 2 groups of channels, points in and around them, weights and vectors."""
    torch.manual_seed(0)
    n = 2 * channels
    x, *weights, vectors = (
        torch.randn(shape, dtype=torch.float64) for shape in ((2, n, height, width), (2, 3, 2, points), (2, 3, n))
    )
    y, x_ = (torch.rand(2, 3, 2, points, dtype=torch.float64) * (n + 5) - 3 for n in (height, width))
    return [t.requires_grad_() for t in (x, y, x_, *weights, vectors)]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients(shape: tuple[int, ...]) -> None:
    """Gradients would not be those of the sums or products, above all at the border and outside the map."""
    x, y, x_, weight, vectors = example(*shape)
    assert torch.autograd.gradcheck(lambda x, *rest: Sums.apply(framed(x), *rest), (x, y, x_, weight))
    assert torch.autograd.gradcheck(lambda x, *rest: Sums.apply(framed(x), *rest, None), (x, y, x_))
    assert torch.autograd.gradcheck(lambda x, *rest: Products.apply(framed(x), *rest), (x, y, x_, vectors))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_single_samples(shape: tuple[int, ...]) -> None:
    """A CPU would compute something else than a GPU or an exported graph."""
    x, y, x_, weight, vectors = example(*shape)
    for each in (weight, None):
        fast = Sampler(x)(y, x_, each)
        with export_safe():
            torch.testing.assert_close(fast, Sampler(x)(y, x_, each), **TOLERANCE[torch.float64])
    by_weight = torch.autograd.grad((Sampler(x)(y, x_, weight) * vectors).sum(), weight)[0]
    torch.testing.assert_close(Sampler(x).products(y, x_, vectors), by_weight, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_points_far_away(value: float) -> None:
    """A diverging training would read memory that is not the map's, and crash."""
    x = torch.randn(1, 3, 4, 5, requires_grad=True)
    y, x_ = torch.full((1, 2, 1, 3), value, requires_grad=True), torch.zeros(1, 2, 1, 3)
    out = Sampler(x)(y, x_)
    assert out.isnan().all() if value != value else not out.any()
    gradients = torch.autograd.grad(out.sum(), (x, y))
    assert value != value or not any(g.any() for g in gradients)


def test_no_warning() -> None:
    """Every training on a CPU would begin with a warning about sparse matrices. It comes once in a process."""
    code = """import torch, yolo_attn.modules as m
m.MSDeformAttn(8)([torch.ones(1, 8, 3, 3)] * 2).sum().backward()"""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)
