"""Spatial-reduction attention with its matrix in memory (arXiv:2102.12122, eq. 1-4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def published(module: Any, x: Tensor) -> Tensor:
    """PyramidAttention of a map (B, C, H, W) that is not smaller than its reduction."""
    b, c, h, w = x.shape
    heads = (b * module.num_heads, c // module.num_heads, -1)
    q = module.q(x).reshape(heads)
    k, v = (each.reshape(heads) for each in module.kv(module.proj_ds(x)).chunk(2, 1))
    attn = torch.einsum("bcm,bcn->bmn", q, k) * (c // module.num_heads) ** -0.5
    return module.proj(torch.einsum("bmn,bcn->bcm", attn.softmax(2), v).reshape(b, c, h, w))
