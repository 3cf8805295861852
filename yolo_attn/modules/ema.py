"""Efficient multi-scale attention (Ouyang et al., ICASSP 2023)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, largest_divisor, positive
from ._layout import as_layout
from ._norm import group_norm

GROUPS = 32  # of the official code


@register(
    paper="arXiv:2305.13563",
    year=2023,
    kind="channel and spatial gate",
    known_as=("EMAAttention", "EMA_attention", "EMA_attention_module", "EfficientMultiScaleAttention"),
    tiny=(8, 2),
)
class EMA(nn.Module):
    """Efficient multi-scale attention: a gate per pixel and group of channels, from a 1x1 and a 3x3 branch.

    This is not the exponential moving average of a model's weights, which Ultralytics calls EMA too.

    Args:
        dim: Number of channels C.
        num_groups: Groups G of channels, which share all parameters; each of C / G channels gives a gate. The largest
            divisor of C up to 32 by default.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or num_groups is not a positive integer, or num_groups does not divide dim.

    References:
        Ouyang et al., ICASSP 2023, arXiv:2305.13563, eq. 1-3, fig. 3b. Differs: the official 32 groups, as `factor`,
        have to divide the channels; rows and columns go through the 1x1 convolution one after the other, in place of
        their concatenation; the mean of a normalised channel is taken to be its bias, which it is.
    """

    def __init__(self, dim: int, num_groups: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        if num_groups is None:
            num_groups = largest_divisor(dim, GROUPS)
        positive(self, num_groups=num_groups)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        self.num_groups = num_groups
        width = dim // num_groups
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        groups = x.unflatten(1, (self.num_groups, -1)).flatten(0, 1)
        groups = groups.contiguous()  # BG c H W; of one channels_last image it would be a view with gaps, which is slow
        rows = self.conv1x1(groups.mean(3, keepdim=True)).sigmoid()  # BG c H 1
        columns = self.conv1x1(groups.mean(2, keepdim=True)).sigmoid()  # BG c 1 W
        wide = group_norm(self.gn, groups * rows * columns)
        near = self.conv3x3(groups)
        of_near = self.gn.bias.softmax(0).view(1, 1, -1)  # weights of channels, from the means of the other branch
        of_wide = near.mean((2, 3)).softmax(1).unsqueeze(1)  # BG 1 c
        gate = (of_near @ near.flatten(2) + of_wide @ wide.flatten(2)).sigmoid()  # BG 1 HW
        return as_layout((groups * gate.unflatten(2, (h, w))).view(b, c, h, w), x)
