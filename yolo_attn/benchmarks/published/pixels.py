"""Attention among all pixels of a map with its matrix in memory.

MHSA (arXiv:1706.03762, eq. 1; arXiv:2101.11605, fig. 4), the non-local block (arXiv:1711.07971, eq. 1-4),
DANet's positions (arXiv:1809.02983, eq. 1-2) and CCNet's rows and columns (arXiv:1811.11721, eq. 1-2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...modules.mhsa import BASE


def published_mhsa(module: Any, x: Tensor) -> Tensor:
    """MHSA of a map (B, C, H, W)."""
    b, c, h, w = x.shape
    q, k, v = (each.reshape(b * module.num_heads, -1, h * w) for each in module.qkv(x).chunk(3, 1))
    logits = torch.einsum("bcm,bcn->bmn", q, k)
    if module.pos is not None:
        y, x_ = torch.meshgrid(torch.arange(h, device=x.device), torch.arange(w, device=x.device), indexing="ij")
        where = torch.stack([y, x_], -1).flatten(0, 1).to(x.dtype)  # N 2
        if module.pe == "relative":
            where = where - where[:, None]  # M N 2
        frequency = BASE ** (torch.arange(module.waves, dtype=x.dtype, device=x.device) / -module.waves)
        angle = where[..., None] * frequency
        r = module.pos(torch.stack([angle.sin(), angle.cos()], -2).flatten(-3))
        logits = logits + torch.einsum("bcm,mnc->bmn" if module.pe == "relative" else "bcm,nc->bmn", q, r)
    return module.proj(torch.einsum("bmn,bcn->bcm", (module.scale * logits).softmax(2), v).reshape(b, c, h, w))


def published_non_local(module: Any, x: Tensor) -> Tensor:
    """NonLocal of a map (B, C, H, W)."""
    q, k, v = (layer(x).flatten(2) for layer in (module.theta, module.phi, module.g))
    products = torch.einsum("bcm,bcn->bmn", q, k)
    gaussian = module.mode == "embedded_gaussian"
    weights = (products * module.scale).softmax(2) if gaussian else products / products.shape[2]
    return x + module.bn(module.out(torch.einsum("bmn,bcn->bcm", weights, v).unflatten(2, x.shape[2:])))


def published_position(module: Any, x: Tensor) -> Tensor:
    """PositionAttention of a map (B, C, H, W)."""
    q, k, v = (layer(x).flatten(2) for layer in (module.query_conv, module.key_conv, module.value_conv))
    weights = torch.einsum("bcm,bcn->bmn", q, k).softmax(2)
    return x + module.gamma * torch.einsum("bmn,bcn->bcm", weights, v).unflatten(2, x.shape[2:])


def published_criss_cross(module: Any, x: Tensor) -> Tensor:
    """CrissCross of a map (B, C, H, W)."""
    h = x.shape[2]
    for _ in range(module.recurrence):
        q, k, v = (layer(x) for layer in (module.query_conv, module.key_conv, module.value_conv))
        itself = torch.full((h,), float("-inf"), dtype=x.dtype, device=x.device).diag()  # in its row already
        column = torch.einsum("bcyx,bckx->byxk", q, k) + itself[:, None]
        weights = torch.cat([column, torch.einsum("bcyx,bcyk->byxk", q, k)], 3).softmax(3)
        out = torch.einsum("byxk,bckx->bcyx", weights[..., :h], v) + torch.einsum(
            "byxk,bcyk->bcyx", weights[..., h:], v
        )
        x = x + module.gamma * out
    return x
