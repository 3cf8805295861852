"""Results that repeat to the bit, and the sampler that takes the place of one that doesn't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from yolo_attn import export_safe

from ..conftest import TOLERANCE
from ..tiny import NAMES, as_clip, build, each_module, inputs

SAMPLING = ("grid_sampler", "deform_conv2d", "embedding_bag")


class Operations(TorchDispatchMode):
    """Names of the operations that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(str(operation))
        return operation(*args, **(kwargs or {}))

    @property
    def sampling(self) -> list[str]:
        return [name for name in self.names if any(part in name for part in SAMPLING)]


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def samples(name: str) -> bool:
    module = build(name)
    with Operations() as seen, as_clip(module):
        module(*inputs(name))
    return bool(seen.sampling)


SAMPLERS = [name for name in NAMES if samples(name)]


def results(name: str) -> list[Tensor]:
    """A module's result and all its gradients."""
    module, x = build(name), [t.requires_grad_() for t in inputs(name)]
    with as_clip(module):
        y = module(*x)
    y.square().mean().backward()
    return [y, *(t.grad for t in [*x, *module.parameters()] if t.grad is not None)]


@each_module
def test_repeats(name: str, deterministic: None) -> None:
    """A training with deterministic=True would stop, or end in other weights each time."""
    for one, other in zip(results(name), results(name), strict=True):
        assert torch.equal(one, other)


def test_what_samples() -> None:
    """The tests below would run on nothing."""
    assert {"DAttention", "DeformConv", "DePatch", "MSDeformAttn", "SIFA", "SparseLocalPatch"} <= set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampling_operation_on_cuda(name: str, deterministic: None) -> None:
    """deterministic=True on CUDA would use operations whose gradients sum in any order. Fake tensors stand for CUDA's;
    without the flag the same module on them does sample."""
    module, x = build(name), inputs(name)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with FakeTensorMode(), torch.backends.cudnn.flags(enabled=False), as_clip(module):
        there = {key: torch.empty(value.shape, dtype=value.dtype, device="cuda") for key, value in state.items()}
        x = [torch.empty(t.shape, device="cuda") for t in x]
        for flag in (True, False):
            torch.use_deterministic_algorithms(flag)
            with Operations() as seen:
                y = torch.func.functional_call(module, there, tuple(x))
            assert y.is_cuda and bool(seen.sampling) is not flag


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampling_by_gathers(name: str) -> None:
    """What replaces the sampling operations would compute something else, forward or backward."""
    with Operations() as seen, export_safe():
        safe = results(name)
    assert seen.sampling == []
    for one, other in zip(safe, results(name), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE[torch.float32])
