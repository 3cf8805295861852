"""A small sound model, and modules each of which has one of the faults that a preflight is for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import yolo_attn
from yolo_attn import graph, register

SOUND: dict[str, Any] = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "Conv", [16, 3]],
        [[2, 7, 4], 1, "Detect", ["nc"]],
    ],
}


def with_row(name: str, *args: Any) -> dict[str, Any]:
    """The sound model with a module inserted as row 5."""
    model = copy.deepcopy(SOUND)
    graph.insert(model, 4, [-1, 1, name, list(args)])
    return model


def findings(model: Any, **arguments: Any) -> list[yolo_attn.Finding]:
    """What a preflight finds amiss."""
    given = {"imgsz": 64, "batch": 2, "device": "cpu", **arguments}
    return [finding for finding in yolo_attn.preflight(model, **given) if finding.level != "ok"]


@register
class PooledNorm(nn.Module):
    """A BatchNorm behind a global pooling."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.norm(x.mean((2, 3), keepdim=True)).sigmoid()


@register
class FixedSize(nn.Module):
    """A table of positions for one size of map, a square for each of its areas."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain * x.new_ones(x.shape[2], x.shape[2])


@register
class FloatTable(nn.Module):
    """Half-precision queries meet a table that is made anew in float32."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x * torch.ones(1, x.shape[1], 1, 1))


@register
class Widened(nn.Module):
    """Float32 comes out, whatever goes in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x.float() * self.gain.float()


@register
class AutocastMeetsWeight(nn.Module):
    """What a convolution gives under autocast is added to a parameter in place, whose type is another."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.table, self.project = nn.Parameter(torch.zeros(dim, 1)), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.project(x).flatten(2)
        places = torch.arange(flat.shape[2])
        table = self.table.expand(len(x), -1, flat.shape[2])
        return table.index_add(2, places, flat).view_as(x).to(x.dtype)


@register
class LargeSum(nn.Module):
    """Shares of squares that are too large for float16."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        energy = (1000 * x).pow(2)
        return x + self.gain * energy / (energy.sum((1, 2, 3), keepdim=True) + 1)


@register
class Coarse(nn.Module):
    """Coordinates that are too large for the digits of half precision."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.gain + 1000) - 1000


@register
class NotANumber(nn.Module):
    """The logarithm of a negative number."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.gain - 5).log()


@register
class SteepRoot(nn.Module):
    """A square root at zero, whose slope is infinite."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.gain * 0 * x.detach()).abs().sqrt()


@register
class Unused(nn.Module):
    """A layer that forward leaves out."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.used, self.unused = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


@register
class DeclaredUnused(Unused):
    """The same, meant."""

    no_gradient = ("unused",)


@register
class Frozen(nn.Module):
    """A parameter that is not to change."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


@register
class Fourier(nn.Module):
    """An operator that ONNX doesn't have."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return x * self.gain + torch.fft.irfft2(torch.fft.rfft2(wide), wide.shape[2:]).to(x.dtype)


@register
class AllPairs(nn.Module):
    """Attention of every pixel to every other, with all weights kept."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = F.interpolate(x * self.gain, scale_factor=4).flatten(2)
        attn = (flat.transpose(1, 2) @ flat).softmax(-1)
        return F.avg_pool2d((flat @ attn).unflatten(2, (4 * x.shape[2], 4 * x.shape[3])), 4)
