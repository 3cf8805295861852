"""A module in half precision."""

from __future__ import annotations

import torch

from ..conftest import TOLERANCE
from ..tiny import as_clip, build, each_module, inputs


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
def test_large_activations_in_half_precision(name: str) -> None:
    """Sums of squares over a map would overflow to infinity."""
    module = build(name).half()
    x = [torch.randn(2, t.shape[1], 80, 80).mul(8).half() for t in inputs(name, batch=1)]
    with as_clip(module):
        assert module(*x).isfinite().all()
