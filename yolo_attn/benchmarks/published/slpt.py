"""Sparse local patches: boxes cut out of the map, samples of four gathered pixels each (arXiv:2203.06541)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def published(module: Any, x: Tensor) -> Tensor:
    """SparseLocalPatch of a map (B, C, H, W)."""
    features = module.proj_in(x)
    points = torch.sigmoid(module.initial_points).expand(len(x), -1, -1)
    tokens: Any = 0.0
    for stage in range(module.num_stages):
        half = module.half_length / 2**stage
        start, end = (points - half).clamp(0, 1), (points + half).clamp(0, 1)
        patches = _patches(module, features, start, end)
        tokens = _relation(module.Transformer, patches, tokens + patches)
        points = start + (end - start) * torch.sigmoid(module.out_layer(tokens))
    return _written_back(module, x, tokens, points)


def _patches(module: Any, features: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Tokens (B, K, D) of boxes from start to end, (B, K, 2) as (x, y) each."""
    size = module.patch_size
    share = torch.linspace(0, 1, size, device=start.device)[:, None]
    at = start[:, :, None] * (1 - share) + end[:, :, None] * share  # B K S 2
    x, y = at[..., 0], at[..., 1]
    grid = torch.stack([x[..., None, :].expand(*x.shape, size), y[..., None].expand(*y.shape, size)], -1)
    b, count = start.shape[:2]
    samples = _interpolated(features, grid.reshape(b, -1, 2))  # B D (K S S)
    cut = samples.reshape(b, -1, count, size, size).transpose(1, 2).flatten(0, 1)
    return module.feature_extractor(cut).reshape(b, count, -1)


def _interpolated(features: Tensor, points: Tensor) -> Tensor:
    """Samples (B, D, N) at points (B, N, 2) as (x, y), 0 to 1 between the centres of the first and last pixel."""
    b, d, h, w = features.shape
    flat = features.flatten(2)
    x, y = points[..., 0].clamp(0, 1) * (w - 1), points[..., 1].clamp(0, 1) * (h - 1)
    left, top = x.floor(), y.floor()
    right, below = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    dx, dy = x - left, y - top

    def pixels(row: Tensor, column: Tensor) -> Tensor:
        index = (row * w + column).long()[:, None].expand(b, d, -1)
        return torch.gather(flat, 2, index)

    upper = pixels(top, left) * (1 - dx)[:, None] + pixels(top, right) * dx[:, None]
    lower = pixels(below, left) * (1 - dx)[:, None] + pixels(below, right) * dx[:, None]
    return upper * (1 - dy)[:, None] + lower * dy[:, None]


def _relation(relation: Any, patches: Tensor, tokens: Tensor) -> Tensor:
    """The last layer's tokens (B, K, D), normalised."""
    memory, who = patches + relation.structure_encoding, relation.landmark_query
    for layer in relation.Transformer_block["layers"].children():
        y = layer.norm1(tokens)
        tokens = tokens + layer.self_attn(y + who, y + who, y)[0]  # with its weights, which nobody reads
        y = layer.norm2(tokens)
        tokens = tokens + layer.multihead_attn(y + who, memory, patches)[0]
        tokens = tokens + layer.linear2(layer.act(layer.linear1(layer.norm3(tokens))))
    return relation.Transformer_block["norm"](tokens)


def _written_back(module: Any, x: Tensor, tokens: Tensor, points: Tensor) -> Tensor:
    """What pixels (B, C, H, W) get from the tokens of points: all pixels by all tokens, for each head."""
    b, _, h, w = x.shape
    n = module.num_heads
    q = module.proj_q(x)
    d = q.shape[1] // n
    q = q.reshape(b, n, d, h * w)
    k, v = (each.reshape(b, -1, n, d).permute(0, 2, 3, 1) for each in module.proj_kv(tokens).chunk(2, 2))
    y, x_ = (
        torch.arange(side, device=x.device) / max(side - 1, 1) if side > 1 else x.new_tensor([0.5]) for side in (h, w)
    )
    pixels = torch.stack(torch.meshgrid(y, x_, indexing="ij"), -1).flip(-1).reshape(1, h * w, 1, 2)
    squared = (pixels - points[:, None]).pow(2).sum(-1)
    nearness = -(squared / (2 * module.log_radius.exp().pow(2))).clamp(max=1e4)
    attn = torch.einsum("bncm,bnck->bnmk", q, k) * d**-0.5 + nearness[:, None]
    out = torch.einsum("bnmk,bnck->bncm", attn.softmax(-1), v)
    return module.proj_out(out.reshape(b, n * d, h, w))
