"""Sparse local patches (SLPT: Xia et al., CVPR 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._attention import attend
from ._checks import boolean, divisible, number, one_of, positive
from ._constants import constant
from ._export import at_least
from ._layout import as_layout
from ._roi import lattice, patch_tokens, roi
from ._sampling import at_least_float32, without_autocast

MOST_POINTS = 65_536
SHARPEST = 1e8  # one over the square of the radius: far below a pixel
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class InherentLayer(nn.Module):
    """A layer of the inherent relation: attention among the points, attention to their patches, and an MLP.

    Args:
        dim: Number of channels C of a token.
        num_heads: Number of attention heads.
        hidden_dim: Hidden width of the MLP.
        drop: Dropout of attention weights, of the MLP's hidden layer and of each step's result, in training.
        activation: "relu" or "gelu".
        pre_norm: Whether a step's LayerNorm stands before it, or behind its residual sum.

    Shape:
        Tokens of the points, and of what they look at: (B, K, C) and (B, N, C); result (B, K, C).

    Raises:
        ValueError: If an argument has no meaning, or num_heads doesn't divide dim.

    References:
        Xia et al., CVPR 2022, arXiv:2203.06541, section 3.2. Differs: batch first; the official code has K first.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        hidden_dim: int = 1024,
        drop: float = 0.0,
        activation: str = "relu",
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_heads=num_heads, hidden_dim=hidden_dim)
        divisible(self, "dim", "num_heads", dim=dim, num_heads=num_heads)
        number(self, low=0, high=1, drop=drop)
        one_of(self, "activation", activation, tuple(ACTIVATIONS))
        boolean(self, pre_norm=pre_norm)
        self.pre_norm = pre_norm
        self.self_attn, self.multihead_attn = (
            nn.MultiheadAttention(dim, num_heads, drop, batch_first=True) for _ in range(2)
        )
        self.linear1, self.linear2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.act, self.dropout = ACTIVATIONS[activation](), nn.Dropout(drop)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        pos: Tensor | float = 0.0,
        query_pos: Tensor | float = 0.0,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Encodings `pos` and `query_pos` go to keys and queries, never to values; `padding` (B, N) hides tokens."""

        def among_points(x: Tensor) -> Tensor:
            q = x + query_pos
            return self.self_attn(q, q, x, need_weights=False)[0]

        def to_patches(x: Tensor) -> Tensor:
            return self.multihead_attn(x + query_pos, memory + pos, memory, padding, need_weights=False)[0]

        def mlp(x: Tensor) -> Tensor:
            return self.linear2(self.dropout(self.act(self.linear1(x))))

        for norm, step in ((self.norm1, among_points), (self.norm2, to_patches), (self.norm3, mlp)):
            tgt = tgt + self.dropout(step(norm(tgt))) if self.pre_norm else norm(tgt + self.dropout(step(tgt)))
        return tgt


class InherentRelation(nn.Module):
    """The layers, with what a landmark is (`landmark_query`) and where on the object it sits (`structure_encoding`).

    Args:
        num_points: Number of points K.
        dim: Number of channels C of a token.
        num_layers: Number of layers.
        num_heads, hidden_dim, drop, activation, pre_norm: Those of InherentLayer.

    Shape:
        Patch tokens (B, K, C), and tokens (B, K, C) to start from, zeros by default; result (B, num_layers, K, C),
        what every layer gives, through one LayerNorm that all share.

    Raises:
        ValueError: As InherentLayer does.

    References:
        Xia et al., CVPR 2022, arXiv:2203.06541, section 3.2. Differs: the first layer may start from given tokens.
    """

    no_weight_decay = ("structure_encoding", "landmark_query")

    def __init__(
        self,
        num_points: int,
        dim: int,
        num_layers: int = 6,
        num_heads: int = 8,
        hidden_dim: int = 1024,
        drop: float = 0.0,
        activation: str = "relu",
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(self, num_points=num_points, dim=dim, num_layers=num_layers)
        self.structure_encoding, self.landmark_query = (nn.Parameter(torch.randn(1, num_points, dim)) for _ in range(2))
        layers = (InherentLayer(dim, num_heads, hidden_dim, drop, activation, pre_norm) for _ in range(num_layers))
        self.Transformer_block = nn.ModuleDict({"layers": nn.ModuleList(layers), "norm": nn.LayerNorm(dim)})

    def forward(self, patches: Tensor, tokens: Tensor | None = None) -> Tensor:
        tokens = torch.zeros_like(patches) if tokens is None else tokens
        outputs = []
        for layer in self.Transformer_block["layers"].children():
            tokens = layer(tokens, patches, self.structure_encoding, self.landmark_query)
            outputs.append(self.Transformer_block["norm"](tokens))
        return torch.stack(outputs, 1)


@register(paper="arXiv:2203.06541", year=2022, kind="deformable", tiny=(8, 3, 3, 2, 2, 2), licence="GPL-2.0")
class SparseLocalPatch(nn.Module):
    """Sparse local patches: learned points are moved to where an image needs them, coarse to fine, and write back.

    In each stage a patch is cut out around every point and made one token; the tokens learn from each other and move
    the points inside their boxes, which are half as long in the next stage. At last every pixel attends to the tokens.

    Args:
        dim: Number of channels C.
        num_points: Number of points K, at most 65,536, in even rows over the map at the start; the positions they start
            from are learned.
        patch_size: Samples S along each side of a patch, from 2.
        num_stages: Number of times that the points are moved, at most 64.
        num_layers: Layers of the inherent relation, which all stages share, at most 64.
        num_heads: Number of attention heads; it divides embed_dim.
        embed_dim: Width of the tokens; dim // 2 by default.
        half_length: Half a side of a box in the first stage, the whole map being 1.
        mlp_ratio: Hidden width of the MLPs over embed_dim.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, or num_heads doesn't divide embed_dim.

    References:
        Xia et al., CVPR 2022, arXiv:2203.06541, sections 3.1-3.3; `feature_extractor`, `Transformer` and `out_layer`
        have the official names and shapes. Differs: no landmark supervises the points, so gradients flow through boxes
        and samples, where the paper cuts them off, and the pixels' attention to the tokens, which the paper doesn't
        have, falls with the distance to the point, by a learned radius: that is how a loss on the map moves points.
        They start from learned positions, not a mean face, and stay inside their boxes by a sigmoid. A stage starts
        from its patches and the tokens of the one before, not from zeros, so that a token holds its own patch at once.
    """

    no_weight_decay = ("initial_points", "log_radius")

    def __init__(
        self,
        dim: int,
        num_points: int = 64,
        patch_size: int = 7,
        num_stages: int = 3,
        num_layers: int = 2,
        num_heads: int = 8,
        embed_dim: int | None = None,
        half_length: float = 0.125,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        embed_dim = dim // 2 if embed_dim is None else embed_dim
        positive(self, dim=dim, num_points=num_points, patch_size=patch_size, num_stages=num_stages)
        positive(self, num_layers=num_layers, num_heads=num_heads, embed_dim=embed_dim)
        divisible(self, "embed_dim", "num_heads", embed_dim=embed_dim, num_heads=num_heads)
        number(self, low=1, high=MOST_POINTS, num_points=num_points)
        number(self, low=1, high=64, num_stages=num_stages, num_layers=num_layers)
        number(self, low=2, patch_size=patch_size)
        number(self, low=1e-3, high=1, half_length=half_length)
        number(self, low=1 / embed_dim, mlp_ratio=mlp_ratio)
        self.patch_size, self.num_stages, self.num_heads = patch_size, num_stages, num_heads
        self.half_length = half_length
        self.initial_points = nn.Parameter(lattice(num_points).logit())
        self.proj_in = nn.Conv2d(dim, embed_dim, 1)
        self.feature_extractor = nn.Conv2d(embed_dim, embed_dim, patch_size, bias=False)
        self.Transformer = InherentRelation(num_points, embed_dim, num_layers, num_heads, int(embed_dim * mlp_ratio))
        self.out_layer = nn.Linear(embed_dim, 2)
        self.proj_q = nn.Conv2d(dim, embed_dim, 1)
        self.proj_kv = nn.Linear(embed_dim, 2 * embed_dim)
        self.log_radius = nn.Parameter(torch.full((1,), math.log(half_length)))
        self.proj_out = nn.Conv2d(embed_dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x)[0]

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result with the points that were looked at.

        Args:
            x: Map (B, C, H, W).

        Returns:
            Result (B, C, H, W); points (B, num_stages + 1, K, 2) as (x, y), 0 to 1 from the first pixel's centre to
            the last one's: where they start, and where each stage moves them.
        """
        tokens, points = self._tokens(x)
        return self._write_back(x, tokens, points[-1]), torch.stack(points, 1)

    def _tokens(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens (B, K, C) of the last stage, and the points (B, K, 2) of all."""
        features = self.proj_in(x)
        tokens: Any = 0.0
        points = [at_least_float32(self.initial_points).sigmoid().expand(x.shape[0], -1, 2)]
        for stage in range(self.num_stages):
            grid, length, start = roi(points[-1], self.half_length / 2**stage, self.patch_size)
            patches = patch_tokens(self.feature_extractor, features, grid)
            tokens = self.Transformer(patches, tokens + patches)[:, -1]
            points.append(start + length * at_least_float32(self.out_layer(tokens)).sigmoid())
        return tokens, points

    def _write_back(self, x: Tensor, tokens: Tensor, points: Tensor) -> Tensor:
        """Attention from pixels to the tokens of points."""
        q, k, v = self._queries(x, tokens, points)
        with without_autocast(x):
            out = attend(q, k, F.pad(at_least_float32(v), (0, 3)), scale=1.0)[..., :-3].to(v.dtype)
        return self.proj_out(as_layout(rearrange(out, "b n (h w) c -> b (n c) h w", h=x.shape[2]), x))

    def _queries(self, x: Tensor, tokens: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the pixels, keys and values of the tokens, for logits without a further factor.

        The logits fall with the distance d to the points, by d^2 / (2 radius^2). Of d^2 = p^2 - 2 p c + c^2, softmax
        does not see p^2, and the rest is a scalar product: positions are three more channels of queries and keys, in
        place of a bias for every pair.
        """
        q = rearrange(self.proj_q(x), "b (n c) h w -> b n (h w) c", n=self.num_heads)
        k, v = rearrange(self.proj_kv(tokens), "b k (two n c) -> two b n k c", two=2, n=self.num_heads)
        with without_autocast(x):  # positions need more than 11 bits
            pixels, centres = _positions(points, *x.shape[2:]), points - 0.5
            sharpness = (-2 * at_least_float32(self.log_radius)).exp().clamp(max=SHARPEST) / 2
            places = sharpness * torch.cat([2 * centres, -centres.square().sum(-1, keepdim=True)], -1)  # B K 3
            wide = at_least_float32(q) * q.shape[-1] ** -0.5
            queries = torch.cat([wide, pixels.expand(*q.shape[:2], -1, -1)], -1)
            keys = torch.cat([at_least_float32(k), places[:, None].expand(-1, self.num_heads, -1, -1)], -1)
        return queries, keys, v


@constant
def _positions(like: Tensor, h: int, w: int) -> Tensor:
    """Pixels (h w, 3) as (x, y, 1), -0.5 to 0.5 from the first one's centre to the last one's; one pixel is at 0."""
    x, y = ((torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2) / at_least(n - 1, 1) for n in (w, h))
    x, y = torch.meshgrid(x, y, indexing="xy")
    return torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)
