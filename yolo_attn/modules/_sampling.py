"""Bilinear sampling: the one place that calls grid_sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is: coordinates need more than 11 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sample(x: Tensor, points: Tensor) -> Tensor:
    """Sample maps bilinearly at points, in float32 at least; outside the map is zero.

    Args:
        x: Maps (B, C, H, W).
        points: Positions (B, h, w, 2) as (y, x), where -1 and 1 are the centres of the first and last pixel
            (align_corners). On an axis of one pixel every position in [-1, 1] is that pixel.

    Returns:
        Samples (B, C, h, w) in the type of x.
    """
    wide = at_least_float32(x)
    return F.grid_sample(wide, points.flip(-1).to(wide.dtype), padding_mode="zeros", align_corners=True).to(x.dtype)
