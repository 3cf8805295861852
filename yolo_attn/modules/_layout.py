"""Memory layouts of maps."""

from __future__ import annotations

import torch
from torch import Tensor


def by_pixel(x: Tensor) -> Tensor:
    """A map with a pixel's channels side by side in memory, as fast kernels of attention want them."""
    return x.contiguous(memory_format=torch.channels_last)


def as_layout(x: Tensor, like: Tensor) -> Tensor:
    """A map in the memory layout of another one: a pixel's channels side by side (channels_last), or each in a row."""
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def split_channels(x: Tensor, *sizes: int) -> Tensor:
    """The channels of a map (B, C, H, W) as several dimensions. `unflatten` would fix H and W in an ONNX graph."""
    return x.reshape(x.shape[0], *sizes, *x.shape[2:])
