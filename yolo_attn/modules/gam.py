"""GAM: global attention mechanism (Liu et al., 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, odd, positive
from ._norm import batch_norm
from .shuffle_attention import shuffled


@register(
    paper="arXiv:2112.05561",
    year=2021,
    kind="channel and spatial gate",
    known_as=("GAM_Attention", "GAMAttention", "GAMBlock", "GlobalAttentionMechanism"),
    tiny=(8, 2, 3),
)
class GAM(nn.Module):
    """Global attention mechanism: a gate from each pixel's channels, then one from its surroundings, nothing pooled.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r of both gates, `rate` in code; the hidden width is max(dim // r, 1).
        kernel_size: Side of the two convolutions, odd. At 7 they have 98 C^2 / r weights, which num_groups divides.
        num_groups: Groups of the two convolutions; channels are shuffled between them.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not a positive integer, kernel_size is even, or num_groups doesn't divide dim and the
            hidden width.

    References:
        Liu et al., arXiv:2112.05561 (2021), eq. 1-2, fig. 2-3. Differs: BatchNorm behind the convolutions and ReLU
        between the layers are those of the public code, not in the paper's text; that code leaves out the sigmoid of
        the first gate, which fig. 2 has, and shuffles the channels behind the second convolution; the MLP is two 1x1
        convolutions, without permutations; one pixel in training mode doesn't raise.
    """

    def __init__(self, dim: int, reduction: int = 4, kernel_size: int = 7, num_groups: int = 1) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction, num_groups=num_groups)
        odd(self, kernel_size=kernel_size)
        hidden = max(dim // reduction, 1)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        divisible(self, "hidden width", "num_groups", **{"hidden width": hidden, "num_groups": num_groups})
        self.num_groups = num_groups
        self.linear1 = nn.Conv2d(dim, hidden, 1)
        self.act = nn.ReLU()
        self.linear2 = nn.Conv2d(hidden, dim, 1)
        self.conv1 = nn.Conv2d(dim, hidden, kernel_size, padding=kernel_size // 2, groups=num_groups)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, dim, kernel_size, padding=kernel_size // 2, groups=num_groups)
        self.norm2 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.linear2(self.act(self.linear1(x))).sigmoid()
        y = self.act(batch_norm(self.norm1, self.conv1(x)))
        if self.num_groups > 1:
            y = shuffled(y, self.num_groups)
        return x * batch_norm(self.norm2, self.conv2(y)).sigmoid()
