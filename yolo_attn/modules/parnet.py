"""The block of ParNet (Goyal et al., NeurIPS 2022)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import LenientSequential, batch_norm


def _conv(dim: int, kernel_size: int) -> LenientSequential:
    conv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, bias=False)
    return LenientSequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(dim)))


@register(
    paper="arXiv:2110.07641",
    year=2022,
    kind="convolution",
    known_as=("ParNetAttention", "ParNetBlock", "ParNet_Attention"),
    licence="BSD-3-Clause",
)
class ParNet(nn.Module):
    """ParNet's block: the sum of a 1x1 and a 3x3 convolution and of a channel gate on the input, then SiLU.

    Args:
        dim: Number of channels C.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer.

    References:
        Goyal et al., NeurIPS 2022, arXiv:2110.07641, fig. 2 (RepVGG-SSE). Differs: one value per channel in training
        is normalised by the running statistics, where the official code raises; its `se.cvsig.conv` is `se`. What
        collections of modules call ParNetAttention leaves the BatchNorm of the gated branch out.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        self.rbr_identity = nn.BatchNorm2d(dim)
        self.rbr_dense = _conv(dim, 3)
        self.rbr_1x1 = _conv(dim, 1)
        self.se = nn.Conv2d(dim, dim, 1, bias=False)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        skip = batch_norm(self.rbr_identity, x)
        return self.act(self.rbr_dense(x) + self.rbr_1x1(x) + skip * self.gate(skip))

    def gate(self, skip: Tensor) -> Tensor:
        """What the normalised input (B, C, H, W) is multiplied by, (B, C, 1, 1)."""
        return self.se(skip.mean((2, 3), keepdim=True)).sigmoid()
