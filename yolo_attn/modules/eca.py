"""Efficient Channel Attention (Wang et al., CVPR 2020)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, number, positive


def odd_kernel(dim: int, gamma: float, b: float) -> int:
    """|log2(dim) + b| / gamma, whole part, and the next number where that is even."""
    return int(abs((math.log2(dim) + b) / gamma)) | 1


@register(
    paper="arXiv:1910.03151",
    year=2020,
    kind="channel gate",
    known_as=(
        "ECAAttention",
        "ECALayer",
        "eca_layer",
        "ECABlock",
        "ECAModule",
        "ECANet",
        "EfficientChannelAttention",
        "EfficientChannelAttn",
        "ECAttention",
    ),
    tiny=(8, 3),
    licence="MIT",
)
class ECA(nn.Module):
    """Efficient Channel Attention: a gate per channel from the averages of a few neighbouring channels.

    Args:
        dim: Number of channels C.
        kernel_size: Number of channels that a gate looks at, odd; by default the odd number at or above
            |log2(C) + b| / gamma, whole part: 3 from 8 to 127 channels, 5 from 128 to 2047.
        gamma: Divisor of that rule.
        b: Summand of that rule.
        bias: Whether the convolution has a bias, as in collections of modules; the paper has none.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or kernel_size is not positive, kernel_size is even, gamma is not a positive
            number, or bias not a boolean.

    References:
        Wang et al., CVPR 2020, arXiv:1910.03151, sections 3.2-3.3. Differs: the rule of kernel_size rounds as the
        official code does, where the paper takes the nearest odd number.
    """

    def __init__(
        self, dim: int, kernel_size: int | None = None, gamma: float = 2, b: float = 1, bias: bool = False
    ) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=1e-3, gamma=gamma)
        number(self, b=b)
        boolean(self, bias=bias)
        if kernel_size is None:
            kernel_size = odd_kernel(dim, gamma, b)
        positive(self, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"ECA: kernel_size must be odd, got {kernel_size}. Take {kernel_size + 1}, say.")
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv(x.mean((2, 3)).unsqueeze(1))  # B 1 C
        return x * gate.sigmoid().transpose(1, 2).unsqueeze(-1)
