"""SLPT: arXiv:2203.06541, sections 3.1-3.3, with our write-back; loops over images, points, samples, pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .common import bilinear, conv1x1


def sparse_local_patch(module, x: Tensor) -> Tensor:
    """SparseLocalPatch in eval mode."""
    features, q = conv1x1(module.proj_in, x), conv1x1(module.proj_q, x)
    out = torch.stack([_image(module, *maps) for maps in zip(features, q, strict=True)])
    return conv1x1(module.proj_out, out)


def _image(module, features: Tensor, q: Tensor) -> Tensor:
    """What the pixels of one image gather (D, H, W)."""
    d, h, w = features.shape
    points = 1 / (1 + (-module.initial_points).exp())
    tokens = torch.zeros(len(points), d, dtype=features.dtype)
    for stage in range(module.num_stages):
        half = module.half_length / 2**stage
        start, end = (points - half).clamp(0, 1), (points + half).clamp(0, 1)
        patches = torch.stack([_patch(module, features, *box) for box in zip(start, end, strict=True)])
        tokens = relation(module.Transformer, patches, tokens + patches)[-1]
        share = 1 / (1 + (-linear(module.out_layer, tokens)).exp())
        points = torch.stack([a + (b - a) * s for a, b, s in zip(start, end, share, strict=True)])
    k, v = linear(module.proj_kv, tokens).split(d, 1)
    out = torch.zeros_like(features)
    for head in heads(d, module.num_heads):
        for i in range(h):
            for j in range(w):
                at = [0.5 if n == 1 else p / (n - 1) for p, n in ((j, w), (i, h))]
                logits = torch.stack([
                    q[head, i, j] @ k[n, head] / len(q[head]) ** 0.5
                    - math.dist(at, points[n].tolist()) ** 2 / (2 * module.log_radius.exp() ** 2)[0]
                    for n in range(len(points))
                ])  # fmt: skip
                out[head, i, j] = torch.softmax(logits, 0) @ v[:, head]
    return out


def _patch(module, features: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The token (D) of one box from start to end, (x, y) each."""
    d, h, w = features.shape
    size, weight = module.patch_size, module.feature_extractor.weight
    token = features.new_zeros(d)
    for i in range(size):
        for j in range(size):
            x, y = (start + (end - start) * torch.tensor([j, i]) / (size - 1)).unbind()
            token = token + weight[:, :, i, j] @ bilinear(features, y * (h - 1), x * (w - 1))
    return token


def relation(transformer, patches: Tensor, tokens: Tensor) -> list[Tensor]:
    """What each layer gives for tokens (K, D) that look at patches (K, D)."""
    where, who = transformer.structure_encoding[0], transformer.landmark_query[0]
    outputs = []
    for layer in transformer.Transformer_block["layers"]:
        y = norm(layer.norm1, tokens)
        tokens = tokens + attention(layer.self_attn, y + who, y + who, y)
        y = norm(layer.norm2, tokens)
        tokens = tokens + attention(layer.multihead_attn, y + who, patches + where, patches)
        hidden = linear(layer.linear1, norm(layer.norm3, tokens)).clamp(min=0)
        tokens = tokens + linear(layer.linear2, hidden)
        outputs.append(norm(transformer.Transformer_block["norm"], tokens))
    return outputs


def attention(layer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Multi-head attention of queries (K, D) to keys and values (N, D)."""
    (wq, wk, wv), (bq, bk, bv) = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k, v = q @ wq.T + bq, k @ wk.T + bk, v @ wv.T + bv
    out = torch.zeros_like(q)
    for head in heads(q.shape[1], layer.num_heads):
        for n in range(len(q)):
            out[n, head] = torch.softmax(k[:, head] @ q[n, head] / len(q[n, head]) ** 0.5, 0) @ v[:, head]
    return linear(layer.out_proj, out)


def heads(width: int, count: int) -> list[slice]:
    return [slice(i * width // count, (i + 1) * width // count) for i in range(count)]


def linear(layer, x: Tensor) -> Tensor:
    return x @ layer.weight.T + layer.bias


def norm(layer, x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / ((centred**2).mean(1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias
