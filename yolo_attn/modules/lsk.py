"""Large selective kernel (Li et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._precision import saturated


@register(
    paper="arXiv:2303.09030",
    year=2023,
    kind="channel and spatial gate",
    known_as=("LSKBlock", "LSKmodule", "LSKAttention", "LargeSelectiveKernel"),
    licence="CC-BY-NC-4.0",
)
class LSK(nn.Module):
    """Large selective kernel: each pixel chooses how much it sees through a kernel of 5x5 and through one of 23x23.

    Args:
        dim: Number of channels C. Inside there are max(C // 2, 1) for each kernel.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer.

    References:
        Li et al., ICCV 2023, arXiv:2303.09030, eq. 3-10. Differs: nothing from the official code's LSKblock, which
        halves the channels before the selection; float16 ends at its largest number, not at infinity.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        hidden = max(dim // 2, 1)
        self.conv0 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv_spatial = nn.Conv2d(dim, dim, 7, padding=9, dilation=3, groups=dim)
        self.conv1 = nn.Conv2d(dim, hidden, 1)
        self.conv2 = nn.Conv2d(dim, hidden, 1)
        self.conv_squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.conv = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        small = self.conv0(x)
        large = self.conv2(self.conv_spatial(small))
        small = self.conv1(small)
        both = torch.cat([small, large], 1)
        pooled = torch.cat([both.mean(1, keepdim=True), both.amax(1, keepdim=True)], 1)  # B 2 H W
        of_small, of_large = self.conv_squeeze(pooled).sigmoid().split(1, 1)
        return saturated(x * self.conv(small * of_small + large * of_large))
