"""Strip pooling (Hou et al., CVPR 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import batch_norm


@register(
    paper="arXiv:2003.13328",
    year=2020,
    kind="channel and spatial gate",
    known_as=("SPM", "SPBlock", "StripPool", "StripPoolingModule"),
    licence="MIT",
)
class StripPooling(nn.Module):
    """Strip pooling: a gate per channel and pixel from the means of its row and of its column.

    Args:
        dim: Number of channels C.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer.

    References:
        Hou et al., CVPR 2020, arXiv:2003.13328, eq. 2-5, the strip pooling module (SPM; SPBlock in the official code,
        whose StripPooling is the mixed pooling module of the head, and which multiplies outside of SPBlock). Differs:
        one value per channel in training is normalised by the running statistics, where the official code raises.
        timm's `strip` is another layer: its convolutions are depthwise, and BatchNorm, ReLU and the 1x1 convolution are
        left out.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        self.conv1 = nn.Conv2d(dim, dim, (3, 1), padding=(1, 0), bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, (1, 3), padding=(0, 1), bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.act = nn.ReLU()
        self.conv3 = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = batch_norm(self.bn1, self.conv1(x.mean(3, keepdim=True)))  # B C H 1
        columns = batch_norm(self.bn2, self.conv2(x.mean(2, keepdim=True)))  # B C 1 W
        return x * self.conv3(self.act(rows + columns)).sigmoid()
