"""Boxes around points of a map, the samples inside them, and points to start from."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ._bags import in_bags
from ._constants import constant
from ._sampling import Sampler, at_least_float32, sample


def roi(points: Tensor, half_length: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes around points, cut off at the border of the map, and the positions of their samples.

    Args:
        points: Centres (..., 2) as (x, y), 0 to 1 from the first pixel's centre to the last one's.
        half_length: Half a side of a box that nothing cuts off.
        size: Samples S along each axis, both ends of the box included; a single one is at its start.

    Returns:
        Positions (..., S, S, 2), x running along the first of the two S; sides (..., 2); and starts (..., 2) of the
        boxes.
    """
    start, end = (points - half_length).clamp(0, 1), (points + half_length).clamp(0, 1)
    length = end - start
    return spread(torch.cat([start, end], -1), size), length, start


def spread(boxes: Tensor, k: int) -> Tensor:
    """k x k points in each box (..., 4), from edge to edge: (..., k, k, 2) as (x, y), by x and then by y."""
    low, high = boxes[..., None, :2], boxes[..., None, 2:]
    at = low + (high - low) * _ramp(boxes, k)  # ... k 2
    x, y = at.unbind(-1)
    return torch.stack(torch.broadcast_tensors(x[..., :, None], y[..., None, :]), -1)


@constant
def _ramp(like: Tensor, k: int) -> Tensor:
    return torch.linspace(0, 1, k, dtype=like.dtype, device=like.device)[:, None]


def interpolate(x: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples (B, N, C) of maps (B, C, H, W) at points (B, N, 2) as (x, y), moved onto the map where outside.

    Where the slope jumps, at a pixel's centre and at the border, the gradient is the slope towards larger x or y.
    """
    inside = torch.where((points >= 0) & (points < 1), points, points.detach().clamp(0, 1))  # flat from the border on
    if not in_bags(x):
        at_x, at_y = (2 * inside[:, None] - 1).unbind(-1)
        return sample(x, at_y, at_x)[:, :, 0].transpose(1, 2)
    at_x, at_y = at_least_float32(inside)[:, :, None, None].unbind(-1)
    return Sampler(x)(at_y * (x.shape[2] - 1), at_x * (x.shape[3] - 1)).to(x.dtype)


def patch_tokens(extractor: nn.Conv2d, x: Tensor, grid: Tensor) -> Tensor:
    """Patches of maps (B, C, H, W), sampled at positions (B, K, S, S, 2) as `roi` gives them, as tokens (B, K, D).

    The extractor is a convolution (D, C, S, S) of a whole patch: one product of matrices, which is faster so.
    """
    samples = interpolate(x, grid.flatten(1, 3))
    patches = rearrange(samples, "b (k x y) c -> b k (c y x)", x=grid.shape[2], y=grid.shape[3])
    return F.linear(patches, extractor.weight.flatten(1), extractor.bias)


def lattice(num_points: int) -> Tensor:
    """Points (N, 2) as (x, y) in (0, 1), in rows that are spread evenly."""
    rows = round(num_points**0.5)
    counts = [num_points * (i + 1) // rows - num_points * i // rows for i in range(rows)]
    return torch.cat(
        [
            torch.stack([(torch.arange(n) + 0.5) / n, torch.full((n,), (i + 0.5) / rows)], -1)
            for i, n in enumerate(counts)
        ]
    )
