"""Functions in blocks: the numbers and gradients of the whole, in forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from yolo_attn.modules import _blocks
from yolo_attn.modules._blocks import in_blocks

from .conftest import TOLERANCE


def mixed(a: Tensor, b: Tensor, number: Tensor, weight: Tensor) -> Tensor:
    """A result (2, n, 5) of parts (2, n, 3), (n, 4) and (n) and of a whole (7, 5); n is the part's length."""
    return (torch.cat([a, b.expand(2, -1, -1)], 2) @ weight).tanh() * number[:, None]


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    sizes = (2, 10, 3), (10, 4), (7, 5)
    a, b, weight = (torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes)
    return [a, b, torch.arange(10), weight]


def blocks(a: Tensor, b: Tensor, number: Tensor, weight: Tensor) -> Tensor:
    return in_blocks(mixed, [(a, 1, 4), (b, 0, 4), (number, 0, 4)], (weight,))


@pytest.mark.parametrize("graph", [False, True])
def test_gradients(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks would be put together wrongly, or lose a share of a gradient; 10 is no whole number of blocks."""
    monkeypatch.setattr(_blocks, "step_by_step", lambda: not graph)
    assert torch.autograd.gradcheck(blocks, inputs())
    torch.testing.assert_close(blocks(*inputs()), mixed(*inputs()), **TOLERANCE[torch.float64])


def test_only_what_learns_gets_a_gradient() -> None:
    """A frozen layer would get a gradient, or stop the others from getting theirs."""
    a, b, number, weight = inputs()
    blocks(a.detach(), b, number, weight.detach()).sum().backward()
    want = torch.autograd.grad(mixed(a, b, number, weight).sum(), b)[0]
    torch.testing.assert_close(b.grad, want, **TOLERANCE[torch.float64])
    assert a.grad is None and weight.grad is None
    with torch.no_grad():
        assert not blocks(a, b, number, weight).requires_grad


def test_autocast() -> None:
    """The backward, which runs outside of autocast, would compute another function than the forward."""
    found, want = inputs(torch.float32), inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y, z = blocks(*found), mixed(*want)
    assert y.dtype == z.dtype
    for result, given in ((y, found), (z, want)):
        result.float().square().sum().backward()
        assert all(t.grad.dtype == torch.float32 for t in given if t.requires_grad)
    for mine, other in zip(found, want, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=2e-2, atol=2e-2)


def test_random_numbers() -> None:
    """The backward would draw others than the forward, or move on those of what follows."""
    x = torch.ones(10, 64, requires_grad=True)
    y = in_blocks(lambda part: F.dropout(part, 0.5), [(x, 0, 3)], (), random=True)
    state = torch.get_rng_state()
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and torch.equal(torch.get_rng_state(), state)
    assert 0.3 < y.eq(0).float().mean() < 0.7
