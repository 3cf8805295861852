"""Deformable attention with the matrix of all pixels by all keys in memory (arXiv:2201.00520, eq. 5-9)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def published(module: Any, x: Tensor) -> Tensor:
    """DAttention of a map (B, C, H, W); "fixed" at the size of its table only."""
    b, c, h, w = x.shape
    n, g = module.num_heads, module.num_groups
    q = module.proj_q(x)
    if module.no_off:
        window = [min(module.stride, side) for side in (h, w)]
        sampled, pos = F.avg_pool2d(x, window, ceil_mode=module.conv_offset[0].padding != (0, 0)), None
    else:
        pos = _points(module, q.reshape(b * g, c // g, h, w))
        sampled = F.grid_sample(x.reshape(b * g, c // g, h, w), pos.flip(-1), "bilinear", align_corners=True)
    keys = sampled.reshape(b, c, -1, 1)
    heads = (b * n, c // n, -1)
    k, v = module.proj_k(keys).reshape(heads), module.proj_v(keys).reshape(heads)
    attn = torch.einsum("bcm,bcn->bmn", q.reshape(heads), k) * (c // n) ** -0.5  # every pixel with every key
    if pos is not None and module.pe in ("fixed", "log_cpb", "table"):
        attn = attn + _bias(module, pos, b, h, w)
    out = torch.einsum("bmn,bcn->bcm", attn.softmax(2), v).reshape(b, c, h, w)
    if module.pe == "dwc" and not module.no_off:
        out = out + module.rpe_table(q)
    return module.proj_out(out)


def _points(module: Any, q: Tensor) -> Tensor:
    """Where each group looks, (B g, h, w, 2) as (y, x)."""
    offset = module.conv_offset(q)
    h, w = offset.shape[2:]
    ends = [max(side - 1, 1) for side in (h, w)]
    y, x = (
        (torch.arange(side, dtype=torch.float32, device=q.device) + 0.5) / end * 2 - 1
        for side, end in zip((h, w), ends, strict=True)
    )
    reference = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)
    if module.offset_range >= 0:
        reach = torch.tensor([1 / end for end in ends], device=q.device).reshape(1, 2, 1, 1)
        return (offset.tanh() * reach * module.offset_range).permute(0, 2, 3, 1) + reference
    return (offset.permute(0, 2, 3, 1) + reference).clamp(-1, 1)


def _bias(module: Any, pos: Tensor, b: int, h: int, w: int) -> Tensor:
    """Bias (B heads, H W, N) of the logits."""
    n, g = module.num_heads, module.num_groups
    if module.pe == "fixed":
        return module.rpe_table[None].expand(b, -1, -1, -1).flatten(0, 1)
    y, x = (torch.arange(side, device=pos.device) / max(side - 1, 1) * 2 - 1 for side in (h, w))
    queries = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(1, h * w, 1, 2)
    moves = queries - pos.reshape(b * g, 1, -1, 2)  # (B g) HW N 2
    if module.pe == "log_cpb":
        moves = moves * 4
        moves = torch.sign(moves) * torch.log2(moves.abs() + 1) / math.log2(8)
        return module.rpe_table(moves).permute(0, 3, 1, 2).flatten(0, 1)
    table = module.rpe_table[None].expand(b, -1, -1, -1).reshape(b * g, n // g, *module.rpe_table.shape[1:])
    return F.grid_sample(table, (moves * 0.5).flip(-1), "bilinear", align_corners=True).flatten(0, 1)
