"""A module in half precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from yolo_attn.inspection.precision import without_onednn

from ..conftest import HALF_PRECISION, TOLERANCE
from ..tiny import as_clip, build, each_module, inputs


@pytest.fixture(autouse=True)
def every_convolution_ends() -> Iterator[None]:
    with without_onednn():
        yield


@each_module
def test_half_precision(name: str) -> None:
    """Validation in half precision, or training under autocast, would stop with a type error or differ."""
    module, x = build(name), inputs(name)
    with as_clip(module):
        want = module(*x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(module(*x).float(), want, **TOLERANCE[torch.bfloat16])
        got = module.half()(*(t.half() for t in x))
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), want, **TOLERANCE[torch.bfloat16])


@each_module
def test_large_maps_in_half_precision(name: str) -> None:
    """Coordinates in half precision would be too coarse for a large map, far from its origin."""
    module, x = build(name), inputs(name, (80, 40))
    with torch.no_grad(), as_clip(module):
        want = module(*x)
        got = module.half()(*(t.half() for t in x)).float()
    assert (got - want).std() / want.std() < HALF_PRECISION["maps"]


@each_module
def test_large_activations_in_half_precision(name: str) -> None:
    """Sums of squares over a map would overflow to infinity."""
    module = build(name).half()
    x = [torch.randn(2, t.shape[1], 80, 80).mul(8).half() for t in inputs(name, batch=1)]
    with as_clip(module):
        assert module(*x).isfinite().all()


@each_module
def test_large_queries_and_keys(name: str) -> None:
    """Attention logits, products of two large maps, would overflow, and their softmax be NaN."""
    module, x = build(name).train(), [(100 * t).requires_grad_() for t in inputs(name, (20, 20))]
    with as_clip(module), torch.autocast("cpu", torch.bfloat16):
        y = module(*x)
    assert y.isfinite().all()
    gradients = torch.autograd.grad(y.float().square().mean(), [*x, *module.parameters()], allow_unused=True)
    assert all(g.isfinite().all() for g in gradients if g is not None)
    with as_clip(module):
        assert module.eval().half()(*(t.half() for t in x)).isfinite().all()


@each_module
def test_a_loss_scale_is_found(name: str) -> None:
    """Training in half precision would skip every step: its scaler halves the loss until all gradients are finite."""
    module, x = build(name).train(), [(100 * t).requires_grad_() for t in inputs(name, (20, 20))]
    for scale in (1, 2**-8, 2**-16, 2**-24):
        with as_clip(module), torch.autocast("cpu", torch.float16):
            loss = module(*x).float().square().mean() * scale
        gradients = torch.autograd.grad(loss, [*x, *module.parameters()], allow_unused=True)
        if all(g.isfinite().all() for g in gradients if g is not None):
            break
    else:
        pytest.fail("a gradient is infinite or NaN at every scale")
    assert any(g.any() for g in gradients if g is not None)
