"""Squeeze-and-Excitation (Hu et al., CVPR 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, positive


@register(
    paper="arXiv:1709.01507",
    year=2018,
    kind="channel gate",
    known_as=("SEAttention", "SELayer", "SEBlock", "SEModule", "SqueezeExcite", "SqueezeExcitation"),
    tiny=(8, 1),
)
class SE(nn.Module):
    """Squeeze-and-Excitation: a gate per channel from global average pooling.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        bias: Whether the two layers of the gate have a bias.
        hidden_dim: Hidden width in place of the one that reduction gives.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim, reduction or hidden_dim is not a positive integer, or bias not a boolean.

    References:
        Hu et al., CVPR 2018, arXiv:1709.01507, eq. 2-4. Differs: 1x1 convolutions stand for the linear layers.
    """

    def __init__(self, dim: int, reduction: int = 16, bias: bool = True, hidden_dim: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        boolean(self, bias=bias)
        hidden_dim = max(dim // reduction, 1) if hidden_dim is None else hidden_dim
        positive(self, hidden_dim=hidden_dim)
        self.fc1 = nn.Conv2d(dim, hidden_dim, 1, bias=bias)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden_dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)  # B C 1 1
        return x * self.fc2(self.act(self.fc1(gate))).sigmoid()
