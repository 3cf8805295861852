"""Sparse local patches (SLPT: Xia et al., CVPR 2022)."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import divisible, number, positive
from ._sampling import at_least_float32, sample
from .inherent_relation import InherentRelation


def roi(points: Tensor, half_length: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes around points, cut off at the border of the map, and the positions of their samples.

    Args:
        points: Centres (..., 2) as (x, y), 0 to 1 from the first pixel's centre to the last one's.
        half_length: Half a side of a box that nothing cuts off.
        size: Samples S along each axis, both ends of the box included; a single one is at its start.

    Returns:
        Positions (..., S, S, 2), x running along the first of the two S; sides (..., 2); and starts (..., 2) of the
        boxes.
    """
    start, end = (points - half_length).clamp(0, 1), (points + half_length).clamp(0, 1)
    length = end - start
    steps = torch.linspace(0, 1, size, dtype=points.dtype, device=points.device)[:, None]
    x, y = (start[..., None, :] + steps * length[..., None, :]).unbind(-1)  # ... S
    return torch.stack(torch.broadcast_tensors(x[..., :, None], y[..., None, :]), -1), length, start


def interpolate(x: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples (B, N, C) of maps (B, C, H, W) at points (B, N, 2) as (x, y), moved onto the map where outside.

    Where the slope jumps, at a pixel's centre and at the border, the gradient is the slope towards larger x or y.
    """
    inside = torch.where(points < 1, points.clamp(min=0), 1.0)  # behind the last pixel all is flat
    return sample(x, 2 * inside.flip(-1)[:, None] - 1)[:, :, 0].transpose(1, 2)


def patch_tokens(extractor: nn.Module, x: Tensor, grid: Tensor) -> Tensor:
    """Patches of maps (B, C, H, W), sampled at positions (B, K, S, S, 2) as `roi` gives them, as tokens (B, K, D).

    The extractor makes (N, D, 1, 1) of patches (N, C, S, S).
    """
    size = grid.shape[2]
    patches = interpolate(x, grid.flatten(1, 3))
    patches = rearrange(patches, "b (k x y) c -> (b k) c y x", x=size, y=size)
    return rearrange(extractor(patches), "(b k) d 1 1 -> b k d", b=x.shape[0])


def lattice(num_points: int) -> Tensor:
    """Points (N, 2) as (x, y) in (0, 1), in rows that are spread evenly."""
    rows = round(num_points**0.5)
    counts = [num_points * (i + 1) // rows - num_points * i // rows for i in range(rows)]
    return torch.tensor([((j + 0.5) / n, (i + 0.5) / rows) for i, n in enumerate(counts) for j in range(n)])


@register(paper="arXiv:2203.06541", tiny=(8, 3, 3, 2, 2, 2), licence="GPL-2.0")
class SparseLocalPatch(nn.Module):
    """Sparse local patches: learned points are moved to where an image needs them, coarse to fine, and write back.

    In each stage a patch is cut out around every point and made one token; the tokens learn from each other and move
    the points inside their boxes, which are half as long in the next stage. At last every pixel attends to the tokens.

    Args:
        dim: Number of channels C.
        num_points: Number of points K, in even rows over the map at the start; the positions they start from are
            learned.
        patch_size: Samples S along each side of a patch, from 2.
        num_stages: Number of times that the points are moved.
        num_layers: Layers of the inherent relation, which all stages share.
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
        They start from learned positions, not a mean face, and stay inside their boxes by a sigmoid. A stage goes on
        with the tokens of the one before, not with zeros.
    """

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
        self.log_radius = nn.Parameter(torch.tensor([math.log(half_length)]))
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
        features, tokens = self.proj_in(x), None
        points = [at_least_float32(self.initial_points).sigmoid().expand(x.shape[0], -1, 2)]
        for stage in range(self.num_stages):
            grid, length, start = roi(points[-1], self.half_length / 2**stage, self.patch_size)
            tokens = self.Transformer(patch_tokens(self.feature_extractor, features, grid), tokens)[:, -1]
            points.append(start + length * at_least_float32(self.out_layer(tokens)).sigmoid())
        return self._write_back(x, tokens, points[-1]), torch.stack(points, 1)

    def _write_back(self, x: Tensor, tokens: Tensor, points: Tensor) -> Tensor:
        """Attention from pixels to the tokens of points."""
        q = rearrange(self.proj_q(x), "b (n c) h w -> b n (h w) c", n=self.num_heads)
        k, v = rearrange(self.proj_kv(tokens), "b k (two n c) -> two b n k c", two=2, n=self.num_heads)
        out = F.scaled_dot_product_attention(q, k, v, self._nearness(x, points).to(q.dtype))
        return self.proj_out(rearrange(out, "b n (h w) c -> b (n c) h w", h=x.shape[2]))

    def _nearness(self, x: Tensor, points: Tensor) -> Tensor:
        """Bias (B, 1, H W, K) of the attention logits: a Gaussian of the distance, -d^2 / (2 radius^2)."""
        y, x_ = (
            (torch.arange(n, dtype=points.dtype, device=x.device) + (n == 1) / 2) / max(n - 1, 1) for n in x.shape[2:]
        )  # 0 to 1; one pixel is at 0.5
        pixels = torch.stack(torch.meshgrid(x_, y, indexing="xy"), -1).reshape(1, -1, 1, 2)
        squared = (pixels - points[:, None]).square().sum(-1)[:, None]
        sharpness = (-2 * at_least_float32(self.log_radius)).exp() / 2
        return -(sharpness * squared).clamp(max=1e4)  # finite in half precision
