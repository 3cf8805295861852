"""Tensors that follow from sizes alone, such as the positions of a map's pixels: made once, and kept within bounds."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import TypeVar

import torch
from torch import Tensor, nn

from ._export import step_by_step

KEPT = 32  # results of each function: the maps of a training at varying sizes
Result = TypeVar("Result", Tensor, tuple[Tensor, ...])


def constant(make: Callable[..., Result]) -> Callable[..., Result]:
    """Let a function `make(like, *sizes)` keep its latest results, by the type and device of `like` and by the sizes.

    The function must look at nothing else, and nobody may change a result in place. A graph that is being made (by
    torch.compile, an export, on fake tensors) gets a result of its own.
    """

    @lru_cache(KEPT)
    def kept(dtype: torch.dtype, device: torch.device, *sizes: Hashable) -> Result:
        with torch.inference_mode(False):  # a training may need it after a validation has
            return make(torch.empty(0, dtype=dtype, device=device), *sizes)

    @wraps(make)
    def get(like: Tensor, *sizes: Hashable) -> Result:
        if not step_by_step() or type(like) not in (Tensor, nn.Parameter):
            return make(like, *sizes)
        return kept(like.dtype, like.device, *sizes)

    return get


@constant
def numbers(like: Tensor, *values: float) -> Tensor:
    """Numbers as a tensor, of the type of `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)
