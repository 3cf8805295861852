"""A function of many rows on a few of them at a time, so that what it makes on the way stays in a CPU's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._export import step_by_step

NUMBERS = 2**18  # that a block makes on the way, unless one row makes more: 1 MiB, what a cache holds


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
