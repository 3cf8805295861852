"""Deformable DETR: arXiv:2010.04159, eq. 3 (MSDeformAttn) and the encoder layer; loops over all queries and samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .common import bilinear, conv1x1, layer_norm


def attention(module, *inputs: Tensor) -> Tensor:
    """MSDeformAttn on maps: queries are the pixels of the first, at their centres."""
    return _attention(module, _projected(module, inputs))


def encoder_layer(module, *inputs: Tensor) -> Tensor:
    """DeformableTransformerEncoderLayer in eval mode."""
    maps = _projected(module.self_attn, inputs)
    x = layer_norm(module.norm1, maps[0] + _attention(module.self_attn, maps))
    hidden = _linear(module.linear1, x).clamp(min=0)
    return layer_norm(module.norm2, x + _linear(module.linear2, hidden))


def attend(module, query: Tensor, points: Tensor, value: Tensor, shapes, mask: Tensor | None = None) -> Tensor:
    """MSDeformAttn.attend, with points or boxes of each query in each map."""
    maps, start = [], 0
    for h, w in shapes:
        inside = torch.einsum("oc,bsc->bos", module.value_proj.weight, value[:, start : start + h * w])
        inside = inside + module.value_proj.bias[None, :, None]
        if mask is not None:
            inside = inside * (~mask[:, None, start : start + h * w])
        maps.append(inside.reshape(len(value), -1, h, w))
        start += h * w
    b, n = query.shape[:2]
    out = torch.stack([
        torch.stack([_query(module, query[i, j], points[i, j], [m[i] for m in maps]) for j in range(n)])
        for i in range(b)
    ])  # fmt: skip
    return torch.einsum("oc,bnc->bno", module.output_proj.weight, out) + module.output_proj.bias


def _query(module, query: Tensor, points: Tensor, maps: list[Tensor]) -> Tensor:
    """Eq. 3 for one query with its point or box in each map, before the output projection."""
    n_heads, n_levels, n_points = module.num_heads, len(maps), module.num_points
    offsets = module.sampling_offsets.weight @ query + module.sampling_offsets.bias
    offsets = offsets.reshape(n_heads, n_levels, n_points, 2)
    logits = (module.attention_weights.weight @ query + module.attention_weights.bias).reshape(n_heads, -1)
    d, blocks = len(query) // n_heads, []
    for head in range(n_heads):
        share = (logits[head].exp() / logits[head].exp().sum()).reshape(n_levels, n_points)  # over levels and points
        total = query.new_zeros(d)
        for level, image in enumerate(maps):
            h, w = image.shape[1:]
            for p in range(n_points):
                x, y = points[level, :2] * torch.tensor([w, h])  # in pixels from the edge
                dx, dy = offsets[head, level, p]
                if len(points[level]) == 4:
                    dx, dy = torch.stack([dx, dy]) / n_points * points[level, 2:] * torch.tensor([w, h]) / 2
                block = image[head * d : (head + 1) * d]
                total = total + share[level, p] * bilinear(block, y + dy - 0.5, x + dx - 0.5)
        blocks.append(total)
    return torch.cat(blocks)


def _attention(module, maps: list[Tensor]) -> Tensor:
    b, c, h, w = maps[0].shape
    query = maps[0].reshape(b, c, h * w).transpose(1, 2)
    centres = torch.tensor([[(j + 0.5) / w, (i + 0.5) / h] for i in range(h) for j in range(w)], dtype=query.dtype)
    points = centres[None, :, None].expand(b, h * w, len(maps), 2)
    value = torch.cat([m.reshape(b, c, -1).transpose(1, 2) for m in maps], 1)
    out = attend(module, query, points, value, [m.shape[2:] for m in maps])
    return out.transpose(1, 2).reshape(b, c, h, w)


def _projected(module, inputs) -> list[Tensor]:
    return [x if isinstance(p, nn.Identity) else conv1x1(p, x) for p, x in zip(module.proj, inputs, strict=True)]


def _linear(layer, x: Tensor) -> Tensor:
    return torch.einsum("oc,bchw->bohw", layer.weight, x) + layer.bias.view(1, -1, 1, 1)
