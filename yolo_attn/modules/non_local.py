"""Non-local block (Wang et al., CVPR 2018)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from ..registry import register
from ._attention import attend
from ._checks import boolean, one_of, positive
from ._layout import as_layout, by_pixel
from ._norm import batch_norm
from ._sampling import at_least_float32, without_autocast


@register(
    paper="arXiv:1711.07971",
    year=2018,
    kind="attention",
    known_as=(
        "NonLocalBlock",
        "NonLocalBlockND",
        "NonLocal2d",
        "NONLocalBlock2D",
        "NonLocalAttn",
        "NonLocalAttention",
        "NLBlock",
        "NLBlockND",
    ),
    tiny=(8,),
    identity=True,
    licence="CC-BY-NC-4.0",
)
class NonLocal(nn.Module):
    """Non-local block: a weighted mean over all pixels is added to each pixel. The identity at its start.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio; the hidden width is max(dim // reduction, 1).
        mode: "embedded_gaussian", the softmax of products of two embeddings, or "dot_product", the products themselves
            over the number of pixels. The latter grows with the cube of the input: half precision can't hold that of
            large ones.
        use_scale: In mode embedded_gaussian, products are divided by the root of the hidden width.
        hidden_dim: Hidden width in place of the one that reduction gives.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim, reduction or hidden_dim is not positive, the mode unknown, or use_scale not a boolean.

    References:
        Wang et al., CVPR 2018, arXiv:1711.07971, eq. 1-6, fig. 2. Differs: use_scale is the official code's, eq. 2 and
        4 have no scale; there is no max-pooling of keys (section 3.3), no Gaussian without embeddings and no
        concatenated form; one value per channel in training is normalised by the running statistics. timm's scale is
        that of C, not of the hidden width.
    """

    def __init__(
        self,
        dim: int,
        reduction: int = 2,
        mode: str = "embedded_gaussian",
        use_scale: bool = True,
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        one_of(self, "mode", mode, ("embedded_gaussian", "dot_product"))
        boolean(self, use_scale=use_scale)
        hidden_dim = max(dim // reduction, 1) if hidden_dim is None else hidden_dim
        positive(self, hidden_dim=hidden_dim)
        self.mode, self.scale = mode, hidden_dim**-0.5 if use_scale else 1.0
        self.theta, self.phi, self.g = (nn.Conv2d(dim, hidden_dim, 1) for _ in range(3))
        self.out, self.bn = nn.Conv2d(hidden_dim, dim, 1), nn.BatchNorm2d(dim)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.theta, self.phi, self.g
        q, k, v = (rearrange(by_pixel(layer(x)), "b c h w -> b 1 (h w) c") for layer in layers)
        y = attend(q, k, v, scale=self.scale) if self.mode == "embedded_gaussian" else _products(q, k, v)
        y = as_layout(rearrange(y, "b 1 (h w) c -> b c h w", h=x.shape[2]), x)
        return x + batch_norm(self.bn, self.out(y))


def _products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q k^T v / N without the matrix of all pairs, in float32 at least."""
    with without_autocast(q):
        wide = [at_least_float32(each) for each in (q, k, v)]
        return (wide[0] @ (wide[1].transpose(-2, -1) @ wide[2] / k.shape[-2])).to(q.dtype)
