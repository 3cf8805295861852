"""Which maps and batches a module takes, and what it makes of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import yolo_attn
from yolo_attn.rows import build_arguments

from ..tiny import as_clip, build, by_name, each_module, inputs, output_shape

SIZES = [(1, 1), (1, 7), (7, 5), (20, 20)]


@each_module
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_batch(name: str, size: tuple[int, int], batch: int) -> None:
    """A map of one pixel, one image in training, or a long thin map would fail or give NaN."""
    trained(name, size, batch)


@each_module
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(size=st.tuples(st.integers(1, 33), st.integers(1, 33)), batch=st.integers(1, 3))
def test_drawn_sizes(name: str, size: tuple[int, int], batch: int) -> None:
    """A size that nobody thought of would fail: prime, smaller than a window, or just larger than one."""
    trained(name, size, batch)


def trained(name: str, size: tuple[int, int], batch: int) -> None:
    module = build(name).train()
    x = inputs(name, size, batch)
    with as_clip(module, batch):
        y = module(*x)
    assert y.shape == output_shape(name, batch, size)
    assert y.isfinite().all()
    if y.requires_grad:
        y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@each_module
def test_no_image(name: str) -> None:
    """The last, empty share of a batch that was split would stop with an error."""
    y = build(name)(*inputs(name, batch=0))
    assert y.shape == output_shape(name, 0, (7, 5))


@each_module
def test_the_default_row_at_every_scale(name: str) -> None:
    """A row without arguments would not suit the widths of some scale, or promise other channels or another stride."""
    spec = yolo_attn.get(name)
    args = [] if spec.channels == "fuse" else spec.row[3]
    for c1 in (32, 64, 128, 192, 256, 320, 384, 512, 576, 640):  # of YOLOv8n to x behind the second stage
        c2, _, arguments = build_arguments(spec, [c1, c1] if spec.channels == "fuse" else c1, 1, args, lambda c: c // 2)
        module = spec.cls(*arguments).eval()
        stride = by_name(spec, arguments)[spec.stride] if spec.stride else 1
        x = torch.rand(1, c1, 6, 8)
        with torch.no_grad():
            y = module([x, x] if spec.channels == "fuse" else x)
        assert y.shape == (1, c2, 6 // stride, 8 // stride), c1
