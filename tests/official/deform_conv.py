"""Deformable convolution: torchvision, and oeway/pytorch-deform-conv, which samples each channel for itself."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from yolo_attn.modules._sampling import sample_pixels
from yolo_attn.modules.deform_conv import deform_conv2d

from ..golden import Case
from .ours import Function, Ours


def torchvision(module: nn.Module, x: Tensor, offset: Tensor, weight: Tensor, *options: Tensor) -> Tensor:
    """A case without bias or without mask leaves it out of the inputs."""
    by_dimensions = {option.ndim: option for option in options}
    return module(x, offset, weight, by_dimensions.get(1), by_dimensions.get(4))


def map_coordinates(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Maps (B, H, W) at pixels (B, N, 2), those outside moved to the border."""
    last = torch.tensor(maps.shape[1:]) - 1
    inside = torch.minimum(coordinates.clamp(min=0), last.to(coordinates.dtype))
    return sample_pixels(maps[:, None], *inside[:, None].unbind(-1))[:, 0, 0]


def map_offsets(maps: Tensor, offsets: Tensor) -> Tensor:
    """Maps (B, H, W) at each of their pixels plus an offset (B, H, W, 2)."""
    pixels = torch.stack(torch.meshgrid(*(torch.arange(n) for n in maps.shape[1:]), indexing="ij"), -1)
    return map_coordinates(maps, (pixels + offsets.reshape(-1, *pixels.shape)).flatten(1, 2))


class ConvOffset2D(nn.Conv2d):
    """Offsets of each channel from a convolution, whose numbers are paired as they lie in memory."""

    def __init__(self, filters: int, init_normal_stddev: float = 0.01) -> None:
        super().__init__(filters, 2 * filters, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        offsets = super().forward(x).reshape(-1, *x.shape[2:], 2)
        return map_offsets(x.flatten(0, 1), offsets).reshape(x.shape)


def whole_pixels(case: Case) -> bool:
    """A point right on a pixel, where neighbours by floor and ceil are one, in a case with gradients of the points."""
    points = [case.part("in").get(key) for key in ("coords", "offsets") if f"gin/{key}" in case.tensors]
    weight = case.part("state").get("weight", torch.ones(1))
    return not weight.any() or any(bool((p == p.round()).any()) for p in points if p is not None)


BUGS = {"coordinates have no gradient right on a pixel; ours have one everywhere": whole_pixels}

TABLE = {
    "torchvision.deform_conv2d": Ours(lambda **options: Function(partial(deform_conv2d, **options)), call=torchvision),
    "oeway.th_batch_map_coordinates": Ours(lambda: Function(map_coordinates), bugs=BUGS),
    "oeway.th_batch_map_offsets": Ours(lambda: Function(map_offsets), bugs=BUGS),
    "oeway.ConvOffset2D": Ours(ConvOffset2D, bugs=BUGS),
}
