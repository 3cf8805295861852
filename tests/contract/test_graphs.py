"""A module compiled, exported and traced: one graph, for any size of map."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ..conftest import TOLERANCE
from ..tiny import build, each_module, inputs

EXAMPLE, SIZES = (20, 20), [(24, 40), (13, 9)]  # height and width; nothing divides the last one
SMALL = [(1, 1), (1, 7), (2, 3), (5, 3)]  # where modules pad, or divide by one pixel less than none
ONE_SIDE = ("CrossFormerBlock", "CrossFormerStage")  # of their group size, on which the export says so


def agree(graph: nn.Module, module: nn.Module, name: str, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    for size in sizes:
        for batch in (1, 3):
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
    graph = traced(module, name)
    agree(graph, module, name, SIZES if name in ONE_SIDE else [*SIZES, *SMALL])


def traced(module: nn.Module, name: str) -> nn.Module:
    return torch.jit.trace(module, tuple(inputs(name, EXAMPLE)), strict=False, check_trace=False)


@pytest.mark.parametrize("name, other", [
    ("DAttention", {"stride": 4, "kernel_size": 4}), ("DAttention", {"stride": 2, "kernel_size": 5}),
    ("DAttention", {"offset_range": 2}), ("DAttention", {"no_off": True}), ("DAttention", {"pe": "log_cpb"}),
    ("DAttention", {"pe": "fixed", "q_size": 7}), ("DAttention", {"pe": "table", "q_size": 7}),
    ("DAttention", {"pe": "table", "q_size": 7, "stride": 2}),
    ("DePatch", {"patch_size": 2, "stride": 2}), ("DePatch", {"patch_size": 4, "stride": 4}),
    ("MHSA", {"pe": "relative"}), ("CrossFormerBlock", {"group_size": 50}),
    ("CrossFormerBlock", {"group_size": 50, "detection": True}),
])  # fmt: skip
def test_traced_options(name: str, other: dict) -> None:
    """With other arguments than those of the test above a trace would hold for the size of its example only."""
    module = build(name, **other)
    agree(traced(module, name), module, name, [*SIZES, *SMALL])


def test_traced_intervals() -> None:
    """An interval that follows from the longer side would be that of the example's side."""
    module = build("CrossFormerBlock", adaptive_interval=True, detection=True)
    agree(traced(module, "CrossFormerBlock"), module, "CrossFormerBlock")
