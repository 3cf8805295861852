"""A function of many rows on a few of them at a time, so that what it makes on the way stays in a CPU's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

from ._export import step_by_step

NUMBERS = 2**20  # that a block makes on the way, unless one row makes more: 4 MiB, of which a cache holds most


def by_blocks(function: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """`function(x)`, where each row of the result follows from the same row of `x` alone.

    Only on a CPU and without gradients: a backward needs all that was made on the way, and a graph takes any size.

    Args:
        function: What to compute of some rows (n, ...).
        x: All rows (N, ...).
        width: How many numbers the function makes on the way of a row, at most at a time.

    Returns:
        Result (N, ...).
    """
    n = max(NUMBERS // max(width, 1), 1)  # no image has no width
    if torch.is_grad_enabled() or not step_by_step() or not x.is_cpu or len(x) <= n:
        return function(x)
    return torch.cat([function(some) for some in x.split(n)])


def recomputed(function: Callable[..., Tensor], *args: Tensor | int, random: bool = False) -> Tensor:
    """`function(*args)`, computed again in the backward: what it makes on the way is not kept until then.

    Args:
        function: What to compute, one part of several.
        args: Its arguments.
        random: Whether it draws random numbers, which must be the same ones then.
    """
    if torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=random)
    return function(*args)


def in_blocks(
    function: Callable[..., Tensor],
    cut: Sequence[tuple[Tensor, int, int]],
    whole: Sequence[Tensor],
    random: bool = False,
) -> Tensor:
    """The results of `function(*parts, *whole)` for the parts of some tensors, computed again in the backward.

    All parts are written into one result, and their gradients too: with something small that stays between a block and
    the next, the C library finds no room for the one where the other was, and takes as much memory as all of them.

    Args:
        function: What to compute. It must see every tensor that learns among its arguments.
        cut: Tensors, the dimension along which each is cut, and the length of its parts. The result has the dimension
            of the first one, as long as there.
        whole: Tensors that every part needs.
        random: Whether the function draws random numbers, which must be the same ones in the backward.
    """
    tensors, cuts = [*(tensor for tensor, _, _ in cut), *whole], [(dim, length) for _, dim, length in cut]
    if not step_by_step():  # a graph has its own way to compute things again
        parts = (recomputed(function, *each, random=random) for _, each in _parts(tensors, cuts))
        return torch.cat([*parts], cuts[0][0])
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return _InBlocks.apply(function, cuts, random, learns, *tensors)


def _parts(tensors: Sequence[Tensor], cuts: Sequence[tuple[int, int]]) -> Iterator[tuple[int, list[Tensor]]]:
    """Where the parts begin, and what a function gets for each."""
    split = (tensor.split(length, dim) for tensor, (dim, length) in zip(tensors, cuts, strict=False))
    for i, parts in enumerate(zip(*split, strict=True)):
        yield i * cuts[0][1], [*parts, *tensors[len(cuts) :]]


class _InBlocks(torch.autograd.Function):
    """A function of parts of tensors: see in_blocks."""

    @staticmethod
    def forward(ctx: Any, function: Callable, cuts: list, random: bool, learns: bool, *tensors: Tensor) -> Tensor:
        kind = tensors[0].device.type
        ctx.save_for_backward(*tensors)
        ctx.function, ctx.cuts = function, cuts
        ctx.random = (torch.get_rng_state(), *get_device_states(tensors[0])) if random else None
        known = torch.amp.is_autocast_available(kind)
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) if known else None
        out, dim = tensors[0], cuts[0][0]
        with torch.set_grad_enabled(learns):  # the way of a function may depend on it
            for start, parts in _parts(leaves(tensors, ctx.needs_input_grad[4:]), cuts):
                y = function(*parts).detach()
                if start == 0:
                    out = y.new_empty(*y.shape[:dim], tensors[0].shape[dim], *y.shape[dim + 1 :])
                out.narrow(dim, start, y.shape[dim]).copy_(y)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors, dim, needed = ctx.saved_tensors, ctx.cuts[0][0], ctx.needs_input_grad[4:]
        totals = [torch.zeros_like(t) if need else t for t, need in zip(tensors, needed, strict=True)]
        fresh = leaves(tensors, needed)
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            if ctx.autocast:
                kind, dtype, enabled = ctx.autocast
                stack.enter_context(torch.autocast(kind, dtype, enabled))
            if ctx.random:
                state, devices, states = ctx.random
                stack.enter_context(torch.random.fork_rng(devices, device_type=grad.device.type))
                torch.set_rng_state(state)
                set_device_states(devices, states, device_type=grad.device.type)
            for (start, parts), (_, sums) in zip(_parts(fresh, ctx.cuts), _parts(totals, ctx.cuts), strict=True):
                y = ctx.function(*parts)
                add_gradients(sums, y, parts, grad.narrow(dim, start, y.shape[dim]))
        return None, None, None, None, *(t if need else None for t, need in zip(totals, needed, strict=True))


def leaves(tensors: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor]:
    """Tensors that begin a graph of their own; those that are needed learn in it."""
    return [t.detach().requires_grad_(need) for t, need in zip(tensors, needed, strict=True)]


def add_gradients(totals: Sequence[Tensor], y: Tensor, parts: Sequence[Tensor], grad: Tensor) -> None:
    """Add the gradients of those parts that learn, from that of y, each to its total."""
    learn = [(total, part) for total, part in zip(totals, parts, strict=True) if part.requires_grad]
    found = torch.autograd.grad(y, [part for _, part in learn], grad, allow_unused=True)
    for (total, _), each in zip(learn, found, strict=True):
        if each is not None:
            total.add_(each)
