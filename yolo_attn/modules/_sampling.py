"""Bilinear sampling: the one place that calls grid_sample, and its twin made of plain gathers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ._bags import Products, Sums, framed, in_bags
from ._constants import constant, numbers
from ._export import is_export_safe, step_by_step


def gathers(x: Tensor) -> bool:
    """Whether maps are to be sampled by gathers, whose gradient, unlike grid_sample's on CUDA, can be deterministic."""
    return is_export_safe() or (x.is_cuda and torch.are_deterministic_algorithms_enabled())


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is: coordinates need more than 11 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A block in which autocast, that of the device of x, leaves all types as they are."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def divided(points: Tensor, *sizes: float) -> Tensor:
    """Points (..., n), each of the n coordinates divided by its own number.

    Numbers that stem from the size of a map stay symbols in an exported graph, where a tensor of them is a constant.
    """
    if step_by_step():
        return points / numbers(points, *sizes)
    return torch.stack([p / n for p, n in zip(points.unbind(-1), sizes, strict=True)], -1)


@constant
def centres(like: Tensor, h: int, w: int) -> Tensor:
    """The pixels' centres (h, w, 2) as (x, y), 0 to 1 from edge to edge of the map."""
    x, y = ((torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / n for n in (w, h))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def sample(x: Tensor, y: Tensor, x_: Tensor, *, align_corners: bool = True) -> Tensor:
    """Sample maps bilinearly at points, in float32 at least; outside the map is zero.

    Args:
        x: Maps (B, C, H, W).
        y, x_: Positions (B, h, w), -1 to 1 from one end of the map to the other.
        align_corners: Whether the ends are the centres of the first and last pixel, or the map's edges. With centres,
            on an axis of one pixel every position is that pixel.

    Returns:
        Samples (B, C, h, w) in the type of x.
    """
    wide = at_least_float32(x)
    y, x_ = y.to(wide.dtype), x_.to(wide.dtype)
    if gathers(x):
        y, x_ = (
            (p + 1) * (n - 1) / 2 if align_corners else ((p + 1) * n - 1) / 2
            for p, n in zip((y, x_), x.shape[2:], strict=True)
        )
        return gather(wide, y, x_).to(x.dtype)
    points = torch.stack([x_, y], -1)
    return F.grid_sample(wide, points, padding_mode="zeros", align_corners=align_corners).to(x.dtype)


def sample_pixels(x: Tensor, y: Tensor, x_: Tensor) -> Tensor:
    """Sample maps as `sample` does, at points in pixels.

    Args:
        x: Maps (B, C, H, W).
        y, x_: Positions (B, h, w) in pixels: 0 is the centre of the first one.

    Returns:
        Samples (B, C, h, w) in the type of x.
    """
    y, x_ = ((2 * at_least_float32(p) + 1) / n - 1 for p, n in zip((y, x_), x.shape[2:], strict=True))
    return sample(x, y, x_, align_corners=False)


class Sampler:
    """Sums of bilinear samples of the same maps, at one set of points after another; outside a map is zero.

    Args:
        x: Maps (B, C, H, W).
    """

    def __init__(self, x: Tensor) -> None:
        self.x = at_least_float32(x)
        self.pixels = framed(self.x) if in_bags(x) else None

    def __call__(self, y: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sums of P samples for each of N places.

        Args:
            y, x: Positions (B, N, g, P) in pixels: 0 is the centre of the first one. Each of g groups of channels has
                points of its own.
            weight: Weights (B, N, g, P) of the samples, 1 by default.

        Returns:
            Sums (B, N, C), in float32 at least.
        """
        y, x = y.to(self.x.dtype), x.to(self.x.dtype)
        weight = None if weight is None else weight.to(self.x.dtype)
        if self.pixels is not None:
            return Sums.apply(self.pixels, y, x, weight)
        maps = rearrange(self.x, "b (g c) h w -> (b g) c h w", g=y.shape[2])
        samples = sample_pixels(maps, *(rearrange(p, "b n g p -> (b g) n p") for p in (y, x)))
        if weight is not None:
            samples = samples * rearrange(weight, "b n g p -> (b g) 1 n p")
        return rearrange(samples.sum(-1), "(b g) c n -> b n (g c)", g=y.shape[2])

    def products(self, y: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
        """Scalar products (B, N, g, P) of vectors (B, N, C) with the samples; in bags only."""
        dtype = self.x.dtype
        return Products.apply(self.pixels, y.to(dtype), x.to(dtype), vectors.to(dtype))


def sample_windows(
    x: Tensor,
    offset: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    """Sample the window of a convolution around each of its results, every point of it moved by an offset.

    Args:
        x: Maps (B, C, H, W); outside the map is zero.
        offset: Moves in pixels (B, 2 K, h, w), y and x in turn for each of the K points of the window.
        kernel_size, stride, padding, dilation: Those of the convolution, height and width each.

    Returns:
        Samples (B, C, K, h, w) in the type of x.
    """
    y, x_ = window_points(offset, kernel_size, stride, padding, dilation)
    return sample_pixels(x, y.flatten(1, 2), x_.flatten(1, 2)).unflatten(2, y.shape[1:3])


def window_points(
    offset: Tensor, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The points y and x of `sample_windows` in pixels, (B, K, h, w) each."""
    moves = at_least_float32(offset).unflatten(1, (-1, 2))
    sizes = (tuple(each) for each in (kernel_size, stride, padding, dilation))
    rows, columns = _taps(moves, tuple(offset.shape[2:]), *sizes)
    return rows + moves[:, :, 0], columns + moves[:, :, 1]


@constant
def _taps(
    like: Tensor, size: tuple[int, int], kernel_size: tuple[int, int], *rest: tuple[int, int]
) -> tuple[Tensor, ...]:
    """Rows (K, h, 1) and columns (K, 1, w) of a convolution's taps, where nothing moves them."""
    y, x = (
        torch.arange(n, device=like.device, dtype=like.dtype) * s
        + (torch.arange(k, device=like.device, dtype=like.dtype) * d - p).unsqueeze(1)
        for n, k, s, p, d in zip(size, kernel_size, *rest, strict=True)
    )  # kh h and kw w
    return y.repeat_interleave(kernel_size[1], 0)[:, :, None], x.repeat(kernel_size[0], 1)[:, None]


def gather(x: Tensor, y: Tensor, x_: Tensor) -> Tensor:
    """Bilinear samples (B, C, h, w) of maps (B, C, H, W) at points in pixels, (B, h, w) each, by gathers and products.

    Outside the map is zero; 0 is the centre of the first pixel.
    """
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    first = torch.arange(batch, device=x.device)[:, None, None] * (height * width)
    y, x_ = y.clamp(-1, height), x_.clamp(-1, width)  # zero beyond too; an index needs a bound
    top, left = y.floor(), x_.floor()
    below, right = y - top, x_ - left
    rows = ((top.long(), 1 - below), (top.long() + 1, below))
    columns = ((left.long(), 1 - right), (left.long() + 1, right))
    out = x.new_zeros(())
    for row, high in rows:
        for column, wide in columns:
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = first + row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            out = out + pixels[index] * (high * wide * inside).unsqueeze(-1)
    return out.permute(0, 3, 1, 2)
