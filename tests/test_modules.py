"""Properties of every registered module; the registry drives them."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import yolo_attn
from yolo_attn.rows import build_arguments

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import NAMES, SILENT, as_clip, build, by_name, inputs, output_shape

SIZES = [(1, 1), (1, 7), (7, 5), (20, 20)]
each_module = pytest.mark.parametrize("name", NAMES)


@each_module
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)], ids=str)
def test_equals_the_reference(name: str, size: tuple[int, int]) -> None:
    """The equations of the paper would not be what is computed."""
    module = build(name).double()
    x = [t.double() for t in inputs(name, size)]
    with as_clip(module):
        y = module(*x)
    torch.testing.assert_close(y, REFERENCES[name](module, *x), **TOLERANCE[torch.float64])


@each_module
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_batch(name: str, size: tuple[int, int], batch: int) -> None:
    """A map of one pixel, one image in training, or a long thin map would fail or give NaN."""
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
def test_the_default_row_at_every_scale(name: str) -> None:
    """A row without arguments would not suit the widths of some scale, or promise other channels or another stride."""
    spec = yolo_attn.get(name)
    args = {"out": [256], "wrap": ["SE"]}.get(str(spec.channels), [])
    for c1 in (32, 64, 128, 192, 256, 320, 384, 512, 576, 640):  # of YOLOv8n to x behind the second stage
        c2, _, arguments = build_arguments(spec, [c1, c1] if spec.channels == "fuse" else c1, 1, args, lambda c: c // 2)
        module = spec.cls(*arguments).eval()
        stride = by_name(spec, arguments)[spec.stride] if spec.stride else 1
        x = torch.rand(1, c1, 6, 8)
        with torch.no_grad():
            y = module([x, x] if spec.channels == "fuse" else x)
        assert y.shape == (1, c2, 6 // stride, 8 // stride), c1


@each_module
def test_images_do_not_mix(name: str) -> None:
    """An image's result would depend on the others of its batch."""
    module, x = build(name), inputs(name, batch=3)
    torch.testing.assert_close(module(*x)[1:2], module(*(t[1:2] for t in x)), **TOLERANCE[torch.float32])


@each_module
def test_every_parameter_learns(name: str) -> None:
    """A parameter would be carried along without ever getting a gradient."""
    module, x = build(name).train(), [t.requires_grad_() for t in inputs(name, batch=16)]
    with as_clip(module, 16):
        (module(*x) ** 2).sum().backward()
    silent = {k.split(".")[0] for k, p in module.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == SILENT.get(name, set())


OPTIONAL = {"DAttention": {"pe": "table", "q_size": 4}, "DATBlock": {"layer_scale": 0.1}}  # with more parameters


@pytest.mark.parametrize("name, options", [*((name, {}) for name in NAMES), *OPTIONAL.items()], ids=str)
def test_declared(name: str, options: dict) -> None:
    """A factor or a table would decay and go to Muon, because its class does not declare it or misspells it."""
    spec = yolo_attn.get(name)
    module = spec.cls(**{**by_name(spec, spec.tiny), **options})
    weights = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.LayerNorm, nn.modules.batchnorm._NormBase)
    for owner in module.modules():
        own = {k for k, _ in owner.named_parameters(recurse=False)}
        declared = set(getattr(owner, "no_weight_decay", ()))
        assert own - declared == set() or isinstance(owner, weights), (type(owner).__name__, own - declared)
        assert all(hasattr(owner, k) for k in declared), (type(owner).__name__, declared)


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


@each_module
def test_copies_after_a_forward(name: str) -> None:
    """EMA copies and checkpoints would fail or differ, because a forward left something on the module."""
    module, x = build(name), inputs(name)
    before = set(vars(module))
    want = module(*x)
    assert set(vars(module)) == before
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(*x), want)


@each_module
def test_documented(name: str) -> None:
    """A user would not learn shapes, errors, source, or how the module differs from its paper."""
    spec = yolo_attn.get(name)
    doc = inspect.getdoc(spec.cls)
    assert all(part in doc for part in ("Args:", "Shape:", "Raises:", "References:", "Differs:")), name
    assert spec.paper and spec.paper.removeprefix("arXiv:") in doc
    assert [p for p in spec.parameters if p not in doc] == []


def test_only_torch_layers() -> None:
    """Restricted loading would refuse a checkpoint, because a layer comes from another package."""
    for name in NAMES:
        for module in build(name).modules():
            assert type(module).__module__.startswith(("torch.nn.", "yolo_attn.")), type(module)
