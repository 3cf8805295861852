"""Registered layers, one for each kind of row that a YAML can have. They are twins of stock layers or simple."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2f, Conv

from yolo_attn import register


@register
class Same(nn.Module):
    """c2 = c1."""

    def __init__(self, dim: int, kernel_size: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, kernel_size, 1, kernel_size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@register(channels="out")
class TwinConv(Conv):
    """c2 from the YAML, scaled: what Conv's own branch does."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1) -> None:
        super().__init__(c1, c2, k, s)


@register(channels="out", repeats=True)
class TwinC2f(C2f):
    """c2 from the YAML and the number of repeats: what C2f's own branch does."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False) -> None:
        super().__init__(c1, c2, n, shortcut)


@register(channels="fuse")
class Add(nn.Module):
    """Any number of inputs of any widths."""

    def __init__(self, dim: int, in_channels: list[int] | None = None) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in in_channels or [dim, dim])

    def forward(self, x: list[Tensor]) -> Tensor:
        return sum(conv(t) for conv, t in zip(self.convs, x, strict=True))


@register(channels=lambda c1, stride=2: c1 * stride**2)
class SpaceToDepth(nn.Module):
    """c2 = f(c1), with a stride."""

    def __init__(self, dim: int, stride: int = 2) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.unshuffle(x)


@register(name="PSA")
class Pixel(nn.Module):
    """A class whose name in YAMLs belongs to Ultralytics."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain
