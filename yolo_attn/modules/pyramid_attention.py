"""Spatial-reduction attention (Pyramid Vision Transformer: Wang et al., ICCV 2021), as DAT's stages use it."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._attention import attend
from ._checks import heads, number, positive
from ._export import at_least, exporting
from ._layout import as_layout, by_pixel
from .dattention import LayerNormProxy


@register(paper="arXiv:2102.12122", year=2021, kind="attention", tiny=(8, 2, 2), licence="Apache-2.0")
class PyramidAttention(nn.Module):
    """Spatial-reduction attention: every pixel attends to a map that a strided convolution has made smaller.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        sr_ratio: Reduction R of height and width. N = floor(H / R) * floor(W / R) keys, and at least one row and
            column; 1 for all pixels as they are.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, or heads don't divide the channels.

    References:
        Wang et al., ICCV 2021, arXiv:2102.12122, eq. 1-4; the "P" of DAT's stages, arXiv:2201.00520. Differs: a map
        smaller than R is filled up with zeros at the bottom and right, to one key.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        sr_ratio: int = 2,
        head_dim: int | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, sr_ratio=sr_ratio)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        self.num_heads = heads(self, dim, num_heads, head_dim)
        self.sr_ratio, self.attn_drop = sr_ratio, attn_drop
        self.q, self.kv, self.proj = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.proj_drop = nn.Dropout(proj_drop)
        self.proj_ds = (
            nn.Sequential(nn.Conv2d(dim, dim, sr_ratio, sr_ratio), LayerNormProxy(dim))
            if sr_ratio > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        below, right = at_least(self.sr_ratio - h, 0), at_least(self.sr_ratio - w, 0)
        keys = self.proj_ds(F.pad(x, (0, right, 0, below)) if exporting() or below or right else x)
        q = rearrange(by_pixel(self.q(x)), "b (n c) h w -> b n (h w) c", n=self.num_heads)
        k, v = rearrange(by_pixel(self.kv(keys)), "b (two n c) h w -> two b n (h w) c", two=2, n=self.num_heads)
        out = attend(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)
        out = as_layout(rearrange(out, "b n (h w) c -> b (n c) h w", h=h), x)
        return self.proj_drop(self.proj(out))
