"""SGE: spatial group-wise enhance (Li et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, largest_divisor, positive
from ._layout import split_channels
from ._sampling import at_least_float32

EPSILON = 1e-5


@register(
    paper="arXiv:1905.09646",
    year=2019,
    kind="spatial gate",
    known_as=("SpatialGroupEnhance", "SGELayer", "SGEModule", "SpatialGroupwiseEnhance", "SGEAttention"),
    tiny=(8, 2),
)
class SGE(nn.Module):
    """Spatial group-wise enhance: within a group of channels, a pixel counts by its likeness to the group's mean.

    Args:
        dim: Number of channels C.
        num_groups: Groups G of channels. By default the largest divisor of C of at most 64, the paper's number, that
            leaves a group 4 channels, the paper's fewest: one channel alone has no direction to compare.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or num_groups is not a positive integer, or num_groups doesn't divide dim.

    References:
        Li et al., arXiv:1905.09646 (2019), eq. 1-5. Differs: fewer than 64 groups where these don't fit; the deviation
        is divided by H W as in eq. 3, where the official code divides by H W - 1 and gives NaN for a map of one pixel;
        products, means and deviations are in float32 at least.
    """

    no_weight_decay = ("weight", "bias")

    def __init__(self, dim: int, num_groups: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        num_groups = largest_divisor(dim, 64, smallest=4) if num_groups is None else num_groups
        positive(self, num_groups=num_groups)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        self.num_groups = num_groups
        self.weight = nn.Parameter(torch.zeros(1, num_groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, num_groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        groups = (self.num_groups, x.shape[1] // self.num_groups)
        likeness = split_channels(wide * wide.mean((2, 3), keepdim=True), *groups).sum(2)  # B G H W
        deviation, mean = torch.std_mean(likeness, (2, 3), correction=0, keepdim=True)
        gate = ((likeness - mean) / (deviation + EPSILON) * self.weight + self.bias).sigmoid().to(x.dtype)
        return (split_channels(x, *groups) * gate.unsqueeze(2)).reshape(x.shape)
