"""Memory grows with the number of pixels, and not with its square; what follows from sizes alone is made once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..tiny import as_clip, build, each_module, inputs

SIDES = (28, 56)  # 4 times the pixels, 16 times their pairs; whole groups of 7
FACTOR = 6


class Largest(TorchDispatchMode):
    """The most bytes that a tensor had."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        dense = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.layout is torch.strided]
        self.most = max([self.most, *(t.untyped_storage().nbytes() for t in dense)])
        return out


@each_module
@pytest.mark.parametrize("learns", [False, True], ids=["forward", "backward"])
def test_no_tensor_of_all_pairs(name: str, learns: bool) -> None:
    """At the first maps of a detector, a matrix of all pairs of pixels would take gigabytes."""
    module, seen = build(name), []
    for side in SIDES:
        x = [t.requires_grad_(learns) for t in inputs(name, (side, side), batch=2)]
        with torch.set_grad_enabled(learns), as_clip(module), Largest() as largest:
            out = module(*x)
            if learns:
                out.square().sum().backward()
        seen.append(largest.most)
    assert seen[1] <= FACTOR * seen[0]


class Made(TorchDispatchMode):
    """Grids and tables that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        self.names += [name] if name in ("arange", "eye", "linspace", "range", "tril", "triu") else []
        return func(*args, **(kwargs or {}))


@each_module
def test_constants_are_kept(name: str) -> None:
    """Grids of positions and tables of indices would be made again for each image."""
    module = build(name)

    def step() -> None:
        with as_clip(module):
            module(*(t.requires_grad_() for t in inputs(name, (20, 17)))).sum().backward()

    step()
    with Made() as made:
        step()
    assert not made.names
