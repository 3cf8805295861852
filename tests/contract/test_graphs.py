"""A module compiled, exported and traced: one graph, for any size of map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ..conftest import TOLERANCE
from ..tiny import build, each_module, inputs

EXAMPLE, SIZES = (20, 20), [(24, 40), (13, 9)]  # height and width; nothing divides the last one


def agree(graph: nn.Module, module: nn.Module, name: str, batches: tuple[int, ...] = (1, 3)) -> None:
    for size in SIZES:
        for batch in batches:
            x = inputs(name, size, batch)
            torch.testing.assert_close(graph(*x), module(*x), **TOLERANCE["graph"])


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch.compiler.reset()


@each_module
def test_compiled(name: str) -> None:
    """torch.compile would break the graph, or capture something else, at another size too."""
    module = build(name)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="eager")
    for size in (EXAMPLE, SIZES[-1]):
        x = [t.requires_grad_() for t in inputs(name, size)]
        want, got = module(*x), compiled(*x)
        torch.testing.assert_close(got, want, **TOLERANCE["graph"])
        torch.testing.assert_close(gradients(got, x), gradients(want, x), **TOLERANCE["graph"])


def gradients(y: Tensor, x: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(y.square().mean(), x)


@pytest.mark.slow
@each_module
def test_compiled_by_inductor(name: str) -> None:
    """The code that torch.compile makes by default would compute something else, forward or backward."""
    module, x = build(name), [t.requires_grad_() for t in inputs(name)]
    want, got = module(*x), torch.compile(module, fullgraph=True)(*x)
    torch.testing.assert_close(got, want, **TOLERANCE["graph"])
    torch.testing.assert_close(gradients(got, x), gradients(want, x), **TOLERANCE["graph"])


@each_module
def test_exported(name: str) -> None:
    """torch.export would fail, or fix the size or batch of its example."""
    module, x = build(name), inputs(name, EXAMPLE)
    free = {axis: torch.export.Dim.AUTO for axis in (0, 2, 3)}
    graph = torch.export.export(Call(module), tuple(x), dynamic_shapes=(tuple(free for _ in x),)).module()
    agree(graph, module, name)


class Call(nn.Module):
    """Several maps as several inputs, where a module may also take a list."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *x: Tensor) -> Tensor:
        return self.module(*x)


@each_module
def test_traced(name: str) -> None:
    """A TorchScript trace, which most exporters begin with, would hold for the size of its example only."""
    module = build(name)
    graph = torch.jit.trace(module, tuple(inputs(name, EXAMPLE)), strict=False, check_trace=False)
    agree(graph, module, name)
