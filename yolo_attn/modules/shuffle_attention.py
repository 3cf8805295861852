"""SA-Net: shuffle attention (Zhang and Yang, ICASSP 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, largest_divisor, positive
from ._layout import as_layout, split_channels
from ._sampling import at_least_float32


def shuffled(x: Tensor, num_groups: int) -> Tensor:
    """Channels of x (B, C, H, W) in the order first of each group, second of each group, ..., in the same layout."""
    groups = split_channels(x, num_groups, x.shape[1] // num_groups)
    return as_layout(groups.transpose(1, 2).reshape(x.shape), x)


@register(
    paper="arXiv:2102.00240",
    year=2021,
    kind="channel and spatial gate",
    known_as=("SA", "sa_layer", "SALayer", "ShuffleAttBlock", "ShuffleAtt", "ShuffleAttn", "Shuffle_Attention"),
    tiny=(8, 2),
    licence="none",
)
class ShuffleAttention(nn.Module):
    """Shuffle attention: in each group half the channels get a gate per channel, half one per pixel; then they mix.

    Args:
        dim: Number of channels C, even.
        num_groups: Groups G of channels, each of C / 2G with either gate, which share their factors. By default the
            largest divisor of C / 2 of at most 64, the paper's number, that leaves a group 4 channels, the paper's
            fewest.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not a positive integer, dim is odd, or num_groups doesn't divide dim / 2.

    References:
        Zhang and Yang, ICASSP 2021, arXiv:2102.00240, eq. 1-4, fig. 2. Differs: fewer than 64 groups where these don't
        fit; means and variances are in float32 at least.
    """

    no_weight_decay = ("cweight", "cbias", "sweight", "sbias")

    def __init__(self, dim: int, num_groups: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        if dim % 2:
            raise ValueError(f"ShuffleAttention: dim must be even, got {dim}. Choose {dim + 1}.")
        num_groups = largest_divisor(dim // 2, 64, smallest=2) if num_groups is None else num_groups
        positive(self, num_groups=num_groups)
        divisible(self, "dim / 2", "num_groups", **{"dim / 2": dim // 2, "num_groups": num_groups})
        width = dim // 2 // num_groups
        self.num_groups = num_groups
        self.cweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.gn = nn.GroupNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        # The norm has one channel in a group: both gates are the sigmoid of a line, x * slope + offset, per channel.
        wide = at_least_float32(x)
        variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
        shape = mean.shape  # B C 1 1
        halves = (self.num_groups, 2, self.sweight.shape[1])
        mean, variance = split_channels(mean, *halves), split_channels(variance, *halves)  # B G 2 C/2G 1 1
        slope = self.sweight * self.gn.weight.view_as(self.sweight) / (variance[:, :, 1] + self.gn.eps).sqrt()
        offset = self.sweight * self.gn.bias.view_as(self.sweight) + self.sbias - slope * mean[:, :, 1]
        slope = torch.stack([torch.zeros_like(slope), slope], 2).reshape(shape)
        offset = torch.stack([self.cweight * mean[:, :, 0] + self.cbias, offset], 2).reshape(shape)
        return shuffled(x * (wide * slope + offset).sigmoid().to(x.dtype), 2)
