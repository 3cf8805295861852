"""Spatial-reduction attention: arXiv:2102.12122, eq. 1-4; loops over images, heads and queries."""

from __future__ import annotations

import torch
from torch import Tensor

from .common import conv1x1, layer_norm


def attention(module, x: Tensor) -> Tensor:
    """PyramidAttention in eval mode."""
    b, c, h, w = x.shape
    d = c // module.num_heads
    q = conv1x1(module.q, x)
    k, v = conv1x1(module.kv, _reduced(module, x)).flatten(2).split(c, 1)
    out = torch.zeros_like(x)
    for image in range(b):
        for head in range(module.num_heads):
            block = slice(head * d, (head + 1) * d)
            for i in range(h):
                for j in range(w):
                    share = torch.softmax(q[image, block, i, j] @ k[image, block] / d**0.5, 0)
                    out[image, block, i, j] = v[image, block] @ share
    return conv1x1(module.proj, out)


def _reduced(module, x: Tensor) -> Tensor:
    """Each whole R x R patch as one pixel; a map smaller than a patch is filled up with zeros."""
    r = module.sr_ratio
    if r == 1:
        return x
    b, c, h, w = x.shape
    full = x.new_zeros(b, c, max(h, r), max(w, r))
    full[:, :, :h, :w] = x
    kh, kw = full.shape[2] // r, full.shape[3] // r
    conv, norm = module.proj_ds
    reduced = x.new_zeros(b, c, kh, kw)
    for i in range(kh):
        for j in range(kw):
            patch = full[:, :, i * r : (i + 1) * r, j * r : (j + 1) * r]
            reduced[:, :, i, j] = torch.einsum("ocyx,bcyx->bo", conv.weight, patch) + conv.bias
    return layer_norm(norm.norm, reduced)
