"""Linear Context Transform (Ruan et al., AAAI 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import divisible, largest_divisor, positive

GROUPS, SMALLEST = 64, 4  # the paper's number of groups, and the channels in the smallest of its groups


@register(
    paper="arXiv:1909.03834",
    year=2020,
    kind="channel gate",
    known_as=("LCTAttention", "LCTGate", "LinearContextTransform"),
    tiny=(8, 2),
)
class LCT(nn.Module):
    """Linear context transform: a gate per channel from its average, normalised among those of its group of channels.

    Args:
        dim: Number of channels C.
        num_groups: Number of groups of channels; by default the largest divisor of dim that is at most 64 and leaves at
            least 4 channels in a group.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or num_groups is not positive, num_groups does not divide dim, or leaves one channel in a
            group, whose normalised average is always zero.

    References:
        Ruan et al., AAAI 2020, arXiv:1909.03834, section 3. Differs: fewer groups than 64 where these would be smaller
        than the paper's; averages and norms are in float32 at least.
    """

    no_weight_decay = ("w", "b")

    def __init__(self, dim: int, num_groups: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        usual = largest_divisor(dim, GROUPS, SMALLEST)
        num_groups = usual if num_groups is None else num_groups
        positive(self, num_groups=num_groups)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        if num_groups == dim > 1:
            raise ValueError(
                f"LCT: num_groups must leave two channels in a group, got {num_groups} of {dim}. Take {usual}, say."
            )
        self.groups = num_groups, dim // num_groups
        self.w = nn.Parameter(torch.zeros(dim))
        self.b = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        context = x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))  # B C
        context = F.layer_norm(context.unflatten(1, self.groups), self.groups[1:]).flatten(1)
        gate = (context * self.w + self.b).sigmoid()
        return x * gate.to(x.dtype)[:, :, None, None]
