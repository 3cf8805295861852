"""Bilinear sampling: the one place that calls grid_sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is: coordinates need more than 11 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sample(x: Tensor, points: Tensor, align_corners: bool = True) -> Tensor:
    """Sample maps bilinearly at points, in float32 at least; outside the map is zero.

    Args:
        x: Maps (B, C, H, W).
        points: Positions (B, h, w, 2) as (y, x), -1 to 1 from one end of the map to the other.
        align_corners: Whether the ends are the centres of the first and last pixel, or the map's edges. With centres,
            on an axis of one pixel every position is that pixel.

    Returns:
        Samples (B, C, h, w) in the type of x.
    """
    wide = at_least_float32(x)
    grid = points.flip(-1).to(wide.dtype)
    return F.grid_sample(wide, grid, padding_mode="zeros", align_corners=align_corners).to(x.dtype)


def sample_pixels(x: Tensor, points: Tensor) -> Tensor:
    """Sample maps as `sample` does, at points in pixels.

    Args:
        x: Maps (B, C, H, W).
        points: Positions (B, h, w, 2) as (y, x) in pixels: 0 is the centre of the first one.

    Returns:
        Samples (B, C, h, w) in the type of x.
    """
    y, x_ = at_least_float32(points).unbind(-1)
    h, w = x.shape[2:]
    return sample(x, torch.stack([(2 * y + 1) / h - 1, (2 * x_ + 1) / w - 1], -1), align_corners=False)
