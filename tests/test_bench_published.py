"""The published forms that the benchmarks compare with: the modules' own results, in the way of the official codes."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import yolo_attn
from yolo_attn.benchmarks.published import FORMS, published
from yolo_attn.modules._clips import clip_modules

from .tiny import build, by_name, generic

SIZE = (7, 9)
CASES = {
    "DAttention": [
        *({"num_heads": 4, "num_groups": 2, "pe": pe, "q_size": SIZE} for pe in ("dwc", "log_cpb", "table", "none")),
        {"pe": "fixed", "q_size": SIZE},
        {"pe": "table", "q_size": (5, 4), "num_groups": 2, "stride": 2, "kernel_size": 5, "offset_range": 2},
        {"stride": 2, "kernel_size": 2, "offset_range": 1.5},
        {"no_off": True, "stride": 2},
    ],
    "CrossFormerBlock": [
        {"group_size": 3},
        {"group_size": 2, "interval": 2, "long_distance": True},
        {"group_size": 2, "interval": 2, "long_distance": True, "split_padding": True, "qkv_bias": False},
        {"group_size": 2, "long_distance": True, "adaptive_interval": True, "no_mask": True, "qk_scale": 0.3},
        {"group_size": 7, "use_cpe": True, "use_extra_conv": True},
        {"group_size": 8, "detection": True},
        {"group_size": 2, "long_distance": True, "adaptive_interval": True, "detection": True},
    ],
    "LocalAttention": [{"window_size": (7, 3)}, {"window_size": 4}],
    "ShiftWindowAttention": [{"window_size": 4}, {"window_size": 3, "shift_size": 1}, {"window_size": (7, 9)}],
    "MSDeformAttn": [{}, {"num_points": 2, "in_channels": (8, 6, 8)}],
    "DeformableTransformerEncoderLayer": [{"drop": 0.0}],
    "DePatch": [
        {"reopen": False},
        {},
        {"stride": 3, "patch_size": 5, "patch_pixel": 2, "wh_bias": None},
        {"tanh": False, "act": "identity", "code_weights": (2.0, 3.0, 4.0, 5.0)},
        {"hidden": False, "norm": False, "wh_bias": 1.0},
    ],
    "SparseLocalPatch": [{}, {"half_length": 0.6, "num_stages": 1, "num_layers": 1}],
    "SIFA": [{}, {"num_frames": 2, "kernel_size": 2, "dilation": 3, "layer_scale": None}, {"kernel_size": 5}],
    "PyramidAttention": [{}, {"sr_ratio": 1}, {"sr_ratio": 3}],
    "MHSA": [{}, {"num_heads": 4, "qkv_bias": False}, {"pe": "absolute"}, {"pe": "relative"}],
    "NonLocal": [{}, {"mode": "dot_product", "reduction": 4}, {"use_scale": False}],
    "PositionAttention": [{}, {"reduction": 2}],
    "CrissCross": [{}, {"recurrence": 1}],
    "GCT": [{}, {"mode": "l1"}, {"mode": "l1", "after_relu": True}],
    "SE": [{}, {"bias": False}],
}
each_case = pytest.mark.parametrize("name, options", [(name, each) for name, all_ in CASES.items() for each in all_])


def made(name: str, options: dict) -> tuple[nn.Module, list[torch.Tensor]]:
    """The tiny instance with other options, and inputs of four images, or one clip."""
    spec = yolo_attn.get(name)
    torch.manual_seed(0)
    given = {**by_name(spec, spec.tiny), **options}
    module = generic(spec.cls(**given))
    widths = (given["in_channels"] or [8, 8]) if spec.channels == "fuse" else [spec.tiny[0]]
    return module, [torch.randn(4, c, SIZE[0] + i, SIZE[1] - i) for i, c in enumerate(widths)]


@each_case
def test_form_is_the_module(name: str, options: dict) -> None:
    """A ratio would be to code that computes something else."""
    module, x = made(name, options)
    slow = published(module)
    with torch.no_grad(), clip(module, slow):
        expected, found = module(*x), slow(*x)
    assert (expected - x[0]).abs().max() > 1e-3 if expected.shape == x[0].shape else True
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_form_has_gradients(name: str) -> None:
    """The time of a step would lack the way back to some of the parameters."""
    module, x = made(name, CASES[name][0])
    slow = published(module)
    with clip(module, slow):
        module(*x).square().sum().backward()
        slow(*x).square().sum().backward()
    largest = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
    for (key, p), other in zip(module.named_parameters(), slow.parameters(), strict=True):
        if p.grad is not None:
            torch.testing.assert_close(other.grad, p.grad, rtol=1e-2, atol=1e-4 * largest, msg=key)


def test_every_form_is_tested() -> None:
    """A form that nobody compared with its module would be measured."""
    assert set(CASES) == {cls.__name__ for cls in FORMS}


@pytest.mark.parametrize("name", ["DATBlock", "DATStage", "CrossFormerStage", "Residual"])
def test_form_of_what_holds_a_mechanism(name: str) -> None:
    """A block around attention would have no ratio, or one to itself."""
    module = build(name)
    slow = published(module)
    assert slow is not None and any("forward" in vars(part) for part in slow.modules())
    assert not any("forward" in vars(part) for part in module.modules())
    x = torch.randn(2, next(iter(yolo_attn.get(name).tiny)), 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(slow(x), module(x), rtol=1e-4, atol=1e-4)


def test_no_form() -> None:
    """A module without a form would be compared with itself."""
    assert published(build("SK")) is None


def clip(*modules: nn.Module):
    """One clip, for modules that look at neighbouring frames."""
    return yolo_attn.clips(nn.ModuleList(modules), 4) if clip_modules(modules[0]) else nullcontext()
