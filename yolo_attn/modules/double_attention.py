"""Double attention (A2-Nets: Chen et al., NeurIPS 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._attention import pooled
from ._checks import positive
from ._layout import as_layout


@register(
    paper="arXiv:1810.11579",
    year=2018,
    kind="attention",
    known_as=("A2", "A2Attention", "A2Atttention", "A2Block", "A2Net", "DoubleAttentionLayer", "DoubleAttentionBlock"),
    tiny=(8, 3, 4),
)
class DoubleAttention(nn.Module):
    """Double attention: features are gathered from all pixels and distributed to each, by a softmax both times.

    Args:
        dim: Number of channels C.
        c_m: Channels m of a gathered feature, max(C // 4, 1) by default.
        c_n: Number n of gathered features, max(C // 4, 1) by default.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim, c_m or c_n is not a positive integer.

    References:
        Chen et al., NeurIPS 2018, arXiv:1810.11579, eq. 3-6, fig. 2: gathering is a softmax over the pixels,
        distribution one over the n features, and the result is added to the input. Differs: nothing; public
        re-implementations often take the second softmax over the pixels, and leave the addition out.
    """

    def __init__(self, dim: int, c_m: int | None = None, c_n: int | None = None) -> None:
        super().__init__()
        positive(self, dim=dim)
        c_m, c_n = (max(dim // 4, 1) if c is None else c for c in (c_m, c_n))
        positive(self, c_m=c_m, c_n=c_n)
        self.convA, self.convB, self.convV = (nn.Conv2d(dim, c, 1) for c in (c_m, c_n, c_n))
        self.conv_reconstruct = nn.Conv2d(c_m, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = pooled(self.convA(x).flatten(2), self.convB(x).flatten(2))  # B m n
        vectors = self.convV(x).flatten(2).softmax(1)  # B n HW
        z = (features @ vectors.to(features.dtype)).unflatten(2, x.shape[2:])
        return x + self.conv_reconstruct(as_layout(z, x))
