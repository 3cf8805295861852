"""CBAM: convolutional block attention module (Woo et al., ECCV 2018)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, odd, positive
from ._norm import LenientSequential


def map_gate(kernel_size: int) -> LenientSequential:
    """From two pooled values of each place to the logit of its gate, (B, 2, h, w) to (B, 1, h, w)."""
    conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
    return LenientSequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(1)))


@register(
    paper="arXiv:1807.06521",
    year=2018,
    kind="channel and spatial gate",
    known_as=(
        *("CBAMBlock", "CBAMLayer", "CBAMModule", "CBAMAttention", "CBAM_Attention"),
        *("ChannelAttention", "ChannelAttentionModule"),  # its halves, which are no rows
        *("SpatialAttention", "SpatialAttentionModule"),
    ),
    tiny=(8, 2, 3),
    licence="MIT",
)
class CBAM(nn.Module):
    """CBAM: a gate per channel, then one per pixel, each from average and max pooling.

    Ultralytics' class of this name, `ultralytics.nn.modules.CBAM`, is another one: its gate per channel lacks the max
    pooling and the hidden layer, and no YAML can name it. The name CBAM in a YAML row is this class.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        kernel_size: Side of the convolution behind the gate per pixel, odd.
        bias: Whether the two layers of the gate per channel have a bias.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not a positive integer, kernel_size is even, or bias not a boolean.

    References:
        Woo et al., ECCV 2018, arXiv:1807.06521, eq. 1-3. Differs: BatchNorm behind the 7x7 convolution and the biases
        of the two layers are those of the official code, not of the equations; that code has the largest value in front
        of the average, where eq. 3 and timm have it behind; one pixel in training mode is normalised by the running
        statistics, where that code raises; 1x1 convolutions stand for the linear layers.
    """

    def __init__(self, dim: int, reduction: int = 16, kernel_size: int = 7, bias: bool = True) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        odd(self, kernel_size=kernel_size)
        boolean(self, bias=bias)
        hidden = max(dim // reduction, 1)
        self.fc1 = nn.Conv2d(dim, hidden, 1, bias=bias)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, dim, 1, bias=bias)
        self.spatial = map_gate(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)], 3)  # B C 1 2
        x = x * self.fc2(self.act(self.fc1(pooled))).sum(3, keepdim=True).sigmoid()
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # B 2 H W
        return x * self.spatial(pooled).sigmoid()
