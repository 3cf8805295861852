"""Multi-head self-attention (Vaswani et al., NeurIPS 2017), with the positions of BoTNet (CVPR 2021) by option."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..registry import register
from ._attention import attend
from ._checks import boolean, heads, number, one_of, positive
from ._constants import constant
from ._layout import as_layout, by_pixel
from ._sampling import at_least_float32

BASE = 10_000  # of the wavelengths: from 2 pi pixels to this many times as much, as in the paper


@constant
def _waves(like: Tensor, h: int, w: int, count: int) -> Tensor:
    """Sines and cosines (H W, 2, 2, count) of the row and the column of each pixel."""
    frequency = BASE ** (torch.arange(count, dtype=like.dtype, device=like.device) / -count)
    y, x = (torch.arange(n, dtype=like.dtype, device=like.device)[:, None] * frequency for n in (h, w))
    angle = torch.stack([y[:, None].expand(-1, w, -1), x[None].expand(h, -1, -1)], 2).flatten(0, 1)
    return torch.stack([angle.sin(), angle.cos()], 2)


@register(
    paper="arXiv:1706.03762",
    year=2017,
    kind="attention",
    known_as=(
        "MultiHeadSelfAttention",
        "MultiHeadAttention",
        "MHA",
        "SelfAttention",
        "ScaledDotProductAttention",
        "BoT",
        "BoTNet",
    ),
    tiny=(8, 2),
    licence="Apache-2.0",
)
class MHSA(nn.Module):
    """Multi-head self-attention: every pixel attends to all pixels of the map.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.
        pe: Position encoding. "none": none. "absolute": keys have a learned linear function of the sines and cosines of
            their row and column added. "relative": queries are multiplied by the same of the distance in rows and
            columns to each key.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, or heads don't divide the channels.

    References:
        Vaswani et al., NeurIPS 2017, arXiv:1706.03762, eq. 1 and section 3.2.2; sines of section 3.5. Absolute and
        relative 2D positions as in Srinivas et al., CVPR 2021, arXiv:2101.11605, fig. 4, q k^T + q r^T. Differs: r
        comes from sines in place of tables, which would fix the size of the map; it is shared by the heads, and there
        are no positions by default; BoTNet has no output projection.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        head_dim: int | None = None,
        pe: str = "none",
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim)
        one_of(self, "pe", pe, ("none", "absolute", "relative"))
        boolean(self, qkv_bias=qkv_bias)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        self.num_heads, self.pe, self.attn_drop = heads(self, dim, num_heads, head_dim), pe, attn_drop
        width = dim // self.num_heads
        self.scale, self.waves = width**-0.5, max(width // 4, 1)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=qkv_bias)
        self.pos = None if pe == "none" else nn.Linear(4 * self.waves, width, bias=False)
        self.proj = nn.Conv2d(dim, dim, 1)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        q, k, v = rearrange(by_pixel(self.qkv(x)), "b (t n c) h w -> t b n (h w) c", t=3, n=self.num_heads)
        if self.pos is not None:
            waves = _waves(at_least_float32(self.pos.weight), h, w, self.waves).to(q.dtype)
            if self.pe == "absolute":
                k = k + self.pos(waves.flatten(1))
            else:
                keys = waves.flatten(1).expand(*k.shape[:2], -1, -1)
                q, k = torch.cat([q, _relative(q @ self.pos.weight.to(q.dtype), waves)], -1), torch.cat([k, keys], -1)
        out = attend(q, k, v, dropout_p=self.attn_drop if self.training else 0.0, scale=self.scale)
        out = as_layout(rearrange(out, "b n (h w) c -> b (n c) h w", h=h), x)
        return self.proj_drop(self.proj(out))


def _relative(query: Tensor, waves: Tensor) -> Tensor:
    """What times the waves of key j gives the query times those of j - i, where i is the query's own place.

    Args:
        query: Queries (..., H W, 4 count) as factors of waves.
        waves: Waves (H W, 2, 2, count).
    """
    sin, cos = waves.unbind(-2)
    q_sin, q_cos = query.unflatten(-1, waves.shape[1:]).unbind(-2)
    return torch.stack([q_sin * cos + q_cos * sin, q_cos * cos - q_sin * sin], -2).flatten(-3)
