"""ELA: efficient local attention (Xu and Wan, 2024)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, largest_divisor, odd, positive
from ._norm import group_norm


@register(
    paper="arXiv:2403.01123",
    year=2024,
    kind="channel and spatial gate",
    known_as=("EfficientLocalAttention", "EfficientLocalizationAttention", "EfficientLocalAttn", "ELA_Attention"),
    tiny=(8, 3, 2),
)
class ELA(nn.Module):
    """Efficient local attention: a gate per row times one per column, by a 1D convolution along the means of both.

    Args:
        dim: Number of channels C.
        kernel_size: Length of the convolution, odd: 7 in ELA-B and ELA-L, 5 in ELA-T and ELA-S.
        num_groups: Groups of channels of the normalisation; by default the largest divisor of dim of at most 16, the
            number of ELA-B, -S and -L. ELA-T has 32.
        group_size: Channels that the convolution sees together: 1 in ELA-B and ELA-T, 8 in ELA-S and ELA-L.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not a positive integer, kernel_size is even, or num_groups or group_size doesn't
            divide dim.

    References:
        Xu and Wan, arXiv:2403.01123 (2024), eq. 4-7. Differs: rows and columns share convolution and normalisation, as
        in the paper's code; timm has one of each, all channels in one group, and a SiLU in front of the gate, which the
        equations don't have.
    """

    def __init__(self, dim: int, kernel_size: int = 7, num_groups: int | None = None, group_size: int = 1) -> None:
        super().__init__()
        positive(self, dim=dim)
        num_groups = largest_divisor(dim, 16) if num_groups is None else num_groups
        positive(self, num_groups=num_groups, group_size=group_size)
        odd(self, kernel_size=kernel_size)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        divisible(self, "dim", "group_size", dim=dim, group_size=group_size)
        padding, groups = kernel_size // 2, dim // group_size
        self.conv = nn.Conv1d(dim, dim, kernel_size, padding=padding, groups=groups, bias=False)
        self.gn = nn.GroupNorm(num_groups, dim)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self._gate(x.mean(3)), self._gate(x.mean(2))  # B C H, B C W
        return x * rows.unsqueeze(3) * columns.unsqueeze(2)

    def _gate(self, strip: Tensor) -> Tensor:
        return group_norm(self.gn, self.conv(strip)).sigmoid()
