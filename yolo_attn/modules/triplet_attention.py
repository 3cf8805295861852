"""Triplet attention (Misra et al., WACV 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, odd, positive
from .cbam import map_gate


def _z_pool(x: Tensor, dim: int) -> Tensor:
    """The largest value and the average along one dimension, side by side as two channels."""
    return torch.stack([x.amax(dim), x.mean(dim)], 1)


@register(
    paper="arXiv:2010.03045",
    year=2021,
    kind="channel and spatial gate",
    known_as=("TripletAtt", "TripletAttentionModule", "TripletBlock", "Triplet", "TripletAttn"),
    tiny=(8, 3),
    licence="MIT",
)
class TripletAttention(nn.Module):
    """Triplet attention: the mean of three gates, of pixels, of channels and rows, and of channels and columns.

    Args:
        dim: Number of channels C, which no parameter depends on.
        kernel_size: Side of the convolutions, odd.
        no_spatial: Leave out the gate of pixels.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer, kernel_size is even, or no_spatial not a boolean.

    References:
        Misra et al., WACV 2021, arXiv:2010.03045, eq. 4-5, fig. 3. Differs: the gates are rotated instead of the map,
        and one pixel in training mode is normalised by the running statistics, where the official code raises.
    """

    def __init__(self, dim: int, kernel_size: int = 7, no_spatial: bool = False) -> None:
        super().__init__()
        positive(self, dim=dim)
        odd(self, kernel_size=kernel_size)
        boolean(self, no_spatial=no_spatial)
        self.cw = map_gate(kernel_size)
        self.hc = map_gate(kernel_size)
        self.hw = None if no_spatial else map_gate(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.cw(_z_pool(x, 2)).sigmoid().transpose(1, 2)  # B 1 C W to B C 1 W
        rows = self.hc(_z_pool(x, 3).transpose(2, 3)).sigmoid().transpose(1, 3)  # B 1 H C to B C H 1
        if self.hw is None:
            return x * ((columns + rows) / 2)
        return x * ((columns + rows + self.hw(_z_pool(x, 1)).sigmoid()) / 3)
