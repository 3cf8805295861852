"""Multi-scale deformable attention: the samples of all maps stacked, then multiplied and summed (arXiv:2010.04159)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def published(module: Any, x: Tensor | Sequence[Tensor], *others: Tensor) -> Tensor:
    """MSDeformAttn of L maps (B, C_l, H_l, W_l), given as a list or as several arguments."""
    maps = _projected(module, x, *others)
    return _attend(module, maps).transpose(1, 2).reshape(maps[0].shape)


def published_layer(module: Any, x: Tensor | Sequence[Tensor], *others: Tensor) -> Tensor:
    """DeformableTransformerEncoderLayer of the same, without dropout."""
    maps = _projected(module.self_attn, x, *others)
    y = module.norm1(_flat(maps[0]) + _attend(module.self_attn, maps))
    y = module.norm2(y + module.linear2(module.activation(module.linear1(y))))
    return y.transpose(1, 2).reshape(maps[0].shape)


def sum_of_samples(value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (B, N, heads d) of samples.

    Args:
        value: L flattened maps (B, S, heads, d).
        shapes: Height and width of each.
        locations: Points (B, N, heads, L, P, 2) as (x, y), 0 to 1.
        weights: Weights (B, N, heads, L, P).
    """
    b, _, n, d = value.shape
    count = locations.shape[1]
    grids, samples = 2 * locations - 1, []
    for i, flat in enumerate(value.split([h * w for h, w in shapes], 1)):
        level = flat.flatten(2).transpose(1, 2).reshape(b * n, d, *shapes[i])
        grid = grids[:, :, :, i].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(level, grid, "bilinear", "zeros", align_corners=False))  # B n, d, N, P
    weights = weights.transpose(1, 2).reshape(b * n, 1, count, -1)
    out = (torch.stack(samples, -2).flatten(-2) * weights).sum(-1)
    return out.reshape(b, n * d, count).transpose(1, 2).contiguous()


def _projected(module: Any, x: Tensor | Sequence[Tensor], *others: Tensor) -> list[Tensor]:
    maps = [x, *others] if isinstance(x, Tensor) else list(x)
    return [proj(each) for proj, each in zip(module.proj, maps, strict=True)]


def _flat(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _attend(module: Any, maps: Sequence[Tensor]) -> Tensor:
    """Attention (B, H_1 W_1, C) of the pixels of the first map to all maps."""
    shapes = [tuple(each.shape[2:]) for each in maps]
    query, n, levels, points = _flat(maps[0]), module.num_heads, len(maps), module.num_points
    value = module.value_proj(torch.cat([_flat(each) for each in maps], 1))
    b, count, c = query.shape
    h, w = shapes[0]
    y, x = ((torch.arange(side, device=query.device) + 0.5) / side for side in (h, w))
    reference = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1).reshape(1, h * w, 1, 1, 1, 2)
    offsets = module.sampling_offsets(query).reshape(b, count, n, levels, points, 2)
    weights = module.attention_weights(query).reshape(b, count, n, levels * points).softmax(-1)
    sizes = torch.tensor([(w, h) for h, w in shapes], device=query.device)[None, None, None, :, None]
    out = sum_of_samples(
        value.reshape(b, -1, n, c // n), shapes, reference + offsets / sizes, weights.reshape(offsets.shape[:-1])
    )
    return module.output_proj(out)
