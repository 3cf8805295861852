"""Coordinate attention (Hou et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import batch_norm


@register(
    paper="arXiv:2103.02907",
    year=2021,
    kind="channel and spatial gate",
    known_as=("CA", "CA_Block", "CABlock", "CoordAttention", "CoordAttn", "CoordinateAttention", "CA_Attention"),
    tiny=(8, 1),
    licence="MIT",
)
class CoordAtt(nn.Module):
    """Coordinate attention: a gate per channel and row times one per channel and column, from means along both.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 8).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not a positive integer.

    References:
        Hou et al., CVPR 2021, arXiv:2103.02907, eq. 4-9. Differs: at least 8 hidden channels, and biases, as in the
        official code.
    """

    def __init__(self, dim: int, reduction: int = 32) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        hidden = max(dim // reduction, 8)
        self.conv1 = nn.Conv2d(dim, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(hidden, dim, 1)
        self.conv_w = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        strips = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2)  # B C H+W 1
        strips = self.act(batch_norm(self.bn1, self.conv1(strips)))
        rows = self.conv_h(strips[:, :, :height]).sigmoid()  # B C H 1
        columns = self.conv_w(strips[:, :, height:].transpose(2, 3)).sigmoid()  # B C 1 W
        return x * rows * columns
