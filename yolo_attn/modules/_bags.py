"""Weighted sums of bilinear samples as bags of an embedding: each sum is one gather of the pixels that it needs."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ._constants import constant, numbers
from ._export import is_export_safe, step_by_step

MARGIN = 2  # pixels of zero around a map: out there all is flat, so that a point needs no mask


def in_bags(x: Tensor) -> bool:
    """Whether maps are to be sampled by bags: where operations run one by one, on a CPU.

    A compiler fuses grid_sample by itself, and a graph for other runtimes is to hold what they know.
    """
    return x.is_cpu and x.numel() > 0 and not is_export_safe() and step_by_step()


def framed(x: Tensor) -> Tensor:
    """Maps (B, C, H, W) as pixels (B, H + 4, W + 4, C), with a margin of zeros."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, *(MARGIN,) * 4)).contiguous()


class Sums(torch.autograd.Function):
    """Weighted sums (B, N, C) of bilinear samples of pixels (B, H + 4, W + 4, C), as `framed` makes them.

    Points y and x are (B, N, g, P) in pixels, P of them for each of N places and g groups of channels; weights too, or
    None for 1. No sample is ever in memory, and for the backward nothing is kept but what was given.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, y: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        ctx.save_for_backward(pixels, y, x, weight)
        return _sums(pixels, *_corners(pixels, y, x), weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, y, x, weight = ctx.saved_tensors
        corners = _corners(pixels, y, x)
        to_pixels = _to_pixels(pixels, *corners, weight, grad) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:]):
            return to_pixels, None, None, None
        to_weight, to_y, to_x = _products(pixels, *corners, grad)
        if weight is None:
            return to_pixels, to_y, to_x, None
        return to_pixels, to_y.mul_(weight), to_x.mul_(weight), to_weight


class Products(torch.autograd.Function):
    """Scalar products (B, N, g, P) of vectors (B, N, C) with bilinear samples of pixels, at points as `Sums` has them.

    Both are derivatives of one form, of sum w_p v . sample_p: by the vector v and by the weights w.
    """

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, y: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(pixels, y, x, vectors)
        return _products(pixels, *_corners(pixels, y, x), vectors)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, y, x, vectors = ctx.saved_tensors
        corners = _corners(pixels, y, x)
        _, to_y, to_x = _products(pixels, *corners, vectors)
        to_pixels, to_vectors = _to_pixels(pixels, *corners, grad, vectors), _sums(pixels, *corners, grad)
        return to_pixels, to_y.mul_(grad), to_x.mul_(grad), to_vectors


def _rows(pixels: Tensor, groups: int) -> Tensor:
    """Pixels as rows of an embedding, one for each group of channels."""
    return pixels.view(pixels.shape[:3].numel() * groups, -1)


def _corners(pixels: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each point the row of the pixel above and left of it, and how far below and right of that it is."""
    batch, height, width, _ = pixels.shape
    groups = y.shape[2]
    y, x = (p.clamp(-MARGIN, n - 2 * MARGIN) for p, n in ((y, height), (x, width)))
    top, left = y.floor(), x.floor()
    corner = top.int().mul_(width).add_(left.int()).mul_(groups).add_(_firsts(pixels, *pixels.shape[:3], groups))
    corner.clamp_(0, (batch * height * width - width - 1) * groups - 1)  # NaN is anywhere
    return corner, y.sub_(top), x.sub_(left)


@constant
def _firsts(like: Tensor, batch: int, height: int, width: int, groups: int) -> Tensor:
    """The row (B, 1, g, 1) of the first pixel of each map itself, behind its margin."""
    image = torch.arange(batch, dtype=torch.int32, device=like.device)[:, None] * (height * width)
    first = (image + MARGIN * (width + 1)) * groups + torch.arange(groups, dtype=torch.int32, device=like.device)
    return first[:, None, :, None]


def _steps(pixels: Tensor, groups: int) -> list[int]:
    """Rows from the pixel above and left of a point to the four around it: that one, right of it, below, and both."""
    width = pixels.shape[2]
    return [step * groups for step in (0, 1, width, width + 1)]


def _around(corner: Tensor, steps: list[int]) -> Tensor:
    """The rows (..., 4) of the four pixels around each point."""
    return corner.unsqueeze(-1) + numbers(corner, *steps)


@constant
def _starts(like: Tensor, bags: int, in_bag: int) -> Tensor:
    """Where bags of equal size begin."""
    return torch.arange(bags, dtype=torch.int32, device=like.device) * in_bag


def _factors(below: Tensor, right: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the four pixels around each point."""
    low = below if weight is None else weight * below
    high = 1 - below if weight is None else weight - low
    two, four = high * right, low * right
    return high - two, two, low - four, four


def _sums(pixels: Tensor, corner: Tensor, below: Tensor, right: Tensor, weight: Tensor | None) -> Tensor:
    batch, places, groups, points = corner.shape
    table, steps, factors = _rows(pixels, groups), _steps(pixels, groups), [*_factors(below, right, weight)]
    in_bag = points
    if 4 * points < table.shape[1]:  # less memory to go through than results for each of the four pixels
        corner, in_bag = _around(corner, steps), 4 * points
        steps, factors = [0], [torch.stack(factors, -1)]
    corner, start = corner.flatten(), _starts(corner, places * batch * groups, in_bag)
    sums = (
        F.embedding_bag(corner, table[step:], start, mode="sum", per_sample_weights=each.flatten())
        for step, each in zip(steps, factors, strict=True)
    )
    total = next(sums)
    for each in sums:
        total.add_(each)
    return total.view(batch, places, -1)


def _products(
    pixels: Tensor, corner: Tensor, below: Tensor, right: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scalar products (B, N, g, P) of vectors with the samples, and their derivatives by y and x. Those with pixels are
    elements of a product of matrices, of which a sparse one says which are wanted."""
    _hush()
    groups, points = corner.shape[2:]
    rows, vectors = _rows(pixels, groups), vectors.reshape(corner.shape[:3].numel(), -1)
    if 4 * points > len(rows):  # more elements than the product has: the operation would leave some out
        vectors, points = vectors.repeat_interleave(points, 0), 1
    wanted = _around(corner, _steps(pixels, groups)).flatten()
    start = _starts(corner, len(vectors) + 1, 4 * points)
    size, empty = (len(vectors), len(rows)), rows.new_zeros(len(wanted))
    pattern = torch.sparse_csr_tensor(start, wanted, empty, size, check_invariants=False)  # a pixel may come twice
    torch.sparse.sampled_addmm(pattern, vectors, rows.t(), beta=0, out=pattern)
    products = pattern.values()
    one, two, three, four = products.view(*corner.shape, 4).unbind(-1)
    top, bottom = torch.lerp(one, two, right), torch.lerp(three, four, right)
    return torch.lerp(top, bottom, below), bottom - top, torch.lerp(two - one, four - three, below)


def _to_pixels(
    pixels: Tensor, corner: Tensor, below: Tensor, right: Tensor, weight: Tensor | None, vectors: Tensor
) -> Tensor:
    """The gradient of the pixels: again sums in bags, one for each pixel, of the vectors (B, N, C) of the places that
    look at it. Points are sorted by the first pixel around them; where that is the same, so are the others."""
    groups, points = corner.shape[2:]
    vectors = vectors.reshape(corner.shape[:3].numel(), -1)
    corner, order = corner.flatten().sort()
    taken = torch.div(order, points, rounding_mode="floor").int()
    count = torch.bincount(corner, minlength=pixels.shape[:3].numel() * groups)
    start = (count.cumsum(0) - count).int()
    below, right = below.flatten()[order], right.flatten()[order]
    factors = _factors(below, right, None if weight is None else weight.flatten()[order])
    total = pixels.new_zeros(_rows(pixels, groups).shape)
    for step, each in zip(_steps(pixels, groups), factors, strict=True):
        sums = F.embedding_bag(taken, vectors, start, mode="sum", per_sample_weights=each)
        total[step:] += sums[: len(sums) - step]
    return total.view_as(pixels)


@cache
def _hush() -> None:
    """PyTorch warns once in a process that sparse matrices are in beta; here, where nobody hears it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 1], [0], [0.0], (1, 1))
