"""BAM: bottleneck attention module (Park et al., BMVC 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import LenientSequential


def _layer(c1: int, c2: int, dilation: int = 0) -> list[nn.Module]:
    """A 1x1 convolution, or a dilated 3x3 one, with BatchNorm and ReLU."""
    conv = nn.Conv2d(c1, c2, 3, padding=dilation, dilation=dilation) if dilation else nn.Conv2d(c1, c2, 1)
    return [conv, nn.BatchNorm2d(c2), nn.ReLU()]


@register(
    paper="arXiv:1807.06514",
    year=2018,
    kind="channel and spatial gate",
    known_as=("BAMBlock", "BAMLayer", "BAMModule", "BAMAttention", "BottleneckAttention"),
    tiny=(8, 2, 2),
    licence="MIT",
)
class BAM(nn.Module):
    """Bottleneck attention: each value is raised by up to twice, by the sum of a channel's and a pixel's weight.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        dilation: Dilation d of the two 3x3 convolutions that see a pixel's surroundings.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument is not a positive integer.

    References:
        Park et al., BMVC 2018, arXiv:1807.06514, eq. 1-4. Differs: BatchNorm and ReLU stand behind each layer but the
        last of both branches, as in the official code, instead of behind the last; that code multiplies the branches,
        where eq. 2 adds them; one image in training mode is normalised behind the pooling by the running statistics,
        where that code raises; maps need not be square; 1x1 convolutions stand for the linear layers.
    """

    def __init__(self, dim: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction, dilation=dilation)
        hidden = max(dim // reduction, 1)
        self.channel_att = LenientSequential(*_layer(dim, hidden), nn.Conv2d(hidden, dim, 1))
        self.spatial_att = LenientSequential(
            *_layer(dim, hidden),
            *_layer(hidden, hidden, dilation),
            *_layer(hidden, hidden, dilation),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel_att(x.mean((2, 3), keepdim=True))  # B C 1 1
        return x * (1 + (channel + self.spatial_att(x)).sigmoid())
