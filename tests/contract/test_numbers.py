"""What a module computes, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import yolo_attn
from yolo_attn.modules import Residual

from ..conftest import TOLERANCE
from ..reference import REFERENCES
from ..tiny import NAMES, SILENT, as_clip, build, detector, each_module, generic, inputs, output_shape


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
@pytest.mark.parametrize("elements", ["a few", pytest.param("all", marks=pytest.mark.slow)])
def test_gradients(name: str, elements: str) -> None:
    """Gradients would not be those of what is computed: of every input, and of elements of every parameter.

    Parameters are generic, so that no sampling point is at a pixel's centre, where the slope jumps.
    """
    module = build(name, **SMOOTH.get(name, {})).double()
    x = [t.double().requires_grad_() for t in inputs(name, (3, 2))]
    parameters = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    chosen = {k: torch.randperm(p.numel())[: FEW if elements == "a few" else None] for k, p in parameters.items()}
    moves = [p.new_zeros(len(chosen[k])).requires_grad_() for k, p in parameters.items()]

    def call(*arguments: Tensor) -> Tensor:
        moved = {
            k: p.flatten().index_add(0, chosen[k], move).view_as(p)
            for (k, p), move in zip(parameters.items(), arguments[len(x) :], strict=True)
        }
        return torch.func.functional_call(module, moved, arguments[: len(x)])

    with as_clip(module):
        assert torch.autograd.gradcheck(call, (*x, *moves))


FEW = 4
SMOOTH = {"DePatch": {"reopen": False}}  # a box of no size gets a gradient that is not its slope, on purpose


@each_module
def test_every_parameter_learns(name: str) -> None:
    """A parameter would be carried along without ever getting a gradient."""
    assert idle(build(name).train(), name, batch=16) == SILENT.get(name, set())


@each_module
def test_every_parameter_is_at_work(name: str) -> None:
    """All other tests would see a part of the module that does nothing, such as a gate whose ReLUs all give zero."""
    assert idle(build(name), name, batch=2) == SILENT.get(name, set())


def idle(module: nn.Module, name: str, batch: int) -> set[str]:
    """Children with parameters that make no difference to the result."""
    with as_clip(module, batch):
        (module(*(t.requires_grad_() for t in inputs(name, batch=batch))) ** 2).sum().backward()
    return {k.split(".")[0] for k, p in module.named_parameters() if p.grad is None or not p.grad.any()}


@each_module
def test_images_do_not_mix(name: str) -> None:
    """An image's result would depend on the others of its batch."""
    module, x = build(name), inputs(name, batch=3)
    torch.testing.assert_close(module(*x)[1:2], module(*(t[1:2] for t in x)), **TOLERANCE[torch.float32])


@each_module
def test_any_layout_in_memory(name: str) -> None:
    """Channels-last maps, or views of a larger one, would be read in a wrong order."""
    module, x = build(name), inputs(name)
    wide = [torch.stack([t, -t], -1).repeat_interleave(2, 2)[:, :, ::2, :, 0] for t in x]
    last = [t.contiguous(memory_format=torch.channels_last) for t in x]
    assert all(not t.is_contiguous() for t in wide + last)
    with as_clip(module):
        want = module(*x)
        for other in (wide, last):
            torch.testing.assert_close(module(*other), want, **TOLERANCE[torch.float32])


@each_module
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_is_kept(name: str, layout: torch.memory_format) -> None:
    """The rows behind a module would convert its maps, or run in a slower layout than the rows before it."""
    module, x = build(name), [t.contiguous(memory_format=layout) for t in inputs(name)]
    with as_clip(module):
        assert module(*x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", [n for n in NAMES if output_shape(n, 1, (6, 8)) == inputs(n, (6, 8), 1)[0].shape])
def test_identity_at_the_start(name: str) -> None:
    """A pretrained detector with the module in residual mode would not detect what it did."""
    spec, x = yolo_attn.get(name), inputs(name)
    for module in (spec.cls(*spec.tiny), Residual(spec.tiny[0], name, spec.tiny)):
        if isinstance(module, Residual) or spec.identity:
            for each in (module.train(), module.eval()):
                assert torch.equal(each(x[0] if len(x) == 1 else [x[0], *x]), x[0])


@each_module
def test_fused(name: str) -> None:
    """A model would predict something else once Ultralytics has fused its convolutions and BatchNorms."""
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(detector(name), verbose=False)
    for layer in model.model[:-1]:
        generic(layer)
    fused = copy.deepcopy(model.eval()).fuse(verbose=False)
    assert count(fused, nn.BatchNorm2d) < count(model, nn.BatchNorm2d)
    image = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(fused(image)[0], model(image)[0], **TOLERANCE["rounding"])


def count(model: nn.Module, kind: type) -> int:
    return sum(isinstance(m, kind) for m in model.modules())
