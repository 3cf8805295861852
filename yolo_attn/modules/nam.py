"""Normalization-based Attention Module (Liu et al., NeurIPS workshops 2021)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import positive
from ._norm import batch_norm


@register(
    paper="arXiv:2111.12419",
    year=2021,
    kind="channel and spatial gate",
    known_as=("NAMAttention", "Channel_Att", "NormalizationBasedAttention"),
    licence="none",
)
class NAM(nn.Module):
    """Normalization-based attention: a gate per channel and pixel, weighted by the scale factors of a BatchNorm.

    Args:
        dim: Number of channels C.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not positive.

    References:
        Liu et al., NeurIPS workshops 2021, arXiv:2111.12419, eq. 1-2. Differs: only the channel part: the spatial one
        has a scale factor for each pixel of a fixed map, and the official code leaves it out by default too. No ReLU
        before the sigmoid, as in the paper and other than in the latest official code. The weights take part in the
        gradient. The penalty on scale factors, eq. 4, belongs to a loss.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.normalize(self.bn.weight.abs(), p=1.0, dim=0).to(x.dtype)
        return x * (batch_norm(self.bn, x) * weight.view(-1, 1, 1)).sigmoid()
