"""Attention in groups with a dynamic position bias, by copies of the groups (arXiv:2108.00154, section 3.2)."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -1e6


def published(module: Any, x: Tensor) -> Tensor:
    """CrossFormerBlock of a map (B, C, H, W)."""
    x = x.permute(0, 2, 3, 1)
    y = module.norm1(x)
    if module.cpe is not None:
        y = y + module.norm_cpe(_on_map(module.cpe, y))
    x = x + _attend(module, y)
    x = x + module.mlp(module.norm2(x))
    if module.ex_conv is not None:
        x = module.ex_ln(_on_map(module.ex_conv, x))
    return x.permute(0, 3, 1, 2).contiguous()


def _on_map(conv: Any, x: Tensor) -> Tensor:
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _attend(module: Any, x: Tensor) -> Tensor:
    """Attention of a map (B, H, W, C) inside its groups, after padding it to whole ones."""
    b, h, w, c = x.shape
    (gh, gw), interval = _grouping(module, h, w)
    rows, columns = -h % (gh * interval), -w % (gw * interval)
    top, left = (rows // 2, columns // 2) if module.split_padding else (0, 0)
    padding = (0, 0, left, columns - left, top, rows - top)
    groups = _grouped(F.pad(x, padding), gh, gw, interval)  # B groups, gh gw, C
    attn, n, members = module.attn, module.attn.num_heads, gh * gw
    qkv = attn.qkv(groups).reshape(len(groups), members, 3, n, c // n).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    logits = (q * (attn.scale or (c // n) ** -0.5)) @ k.transpose(-2, -1)
    if attn.pos is not None:
        offsets, index = _pairs(gh, gw, x.device)
        bias = attn.pos(offsets)[index.reshape(-1)].reshape(members, members, n).permute(2, 0, 1)
        logits = logits + bias.contiguous()
    if (rows or columns) and not module.no_mask:
        real = F.pad(x.new_ones(1, h, w, 1), padding)
        mask = (_grouped(real, gh, gw, interval)[:, None, :, 0] == 0) * MASKED  # groups, 1, gh gw
        logits = logits.reshape(b, len(mask), n, members, members) + mask[None, :, None]
        logits = logits.reshape(-1, n, members, members)
    out = attn.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(len(groups), members, c))
    shape = (b, (h + rows) // (gh * interval), (w + columns) // (gw * interval), interval, interval, gh, gw, c)
    out = out.reshape(shape).permute(0, 1, 5, 3, 2, 6, 4, 7).reshape(b, h + rows, w + columns, c)
    return out[:, top : top + h, left : left + w]


def _grouping(module: Any, h: int, w: int) -> tuple[tuple[int, int], int]:
    """Height and width of a group, and the distance between its members."""
    size = module.group_size
    if min(h, w) <= size:
        return ((h, w) if module.detection else (min(h, w), min(h, w))), 1
    if not module.long_distance:
        return (size, size), 1
    side = max(h, w) if module.detection else h
    return (size, size), -(-side // size) if module.adaptive_interval else module.interval


def _grouped(x: Tensor, gh: int, gw: int, interval: int) -> Tensor:
    """A map (B, H, W, C) as groups (B groups, gh gw, C): members are `interval` apart."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // (gh * interval), gh, interval, w // (gw * interval), gw, interval, c)
    return x.permute(0, 1, 4, 3, 6, 2, 5, 7).reshape(-1, gh * gw, c)


@functools.lru_cache(maxsize=8)  # made once, as buffers are
def _pairs(gh: int, gw: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """All offsets (dy, dx) in a group of gh x gw, and the number of that of each pair of members."""
    y, x = (torch.arange(1 - side, side, device=device, dtype=torch.float32) for side in (gh, gw))
    offsets = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    at = torch.stack(torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij"), -1).reshape(-1, 2)
    dy, dx = (at[:, None] - at[None]).unbind(-1)
    return offsets, ((dy + gh - 1) * (2 * gw - 1) + dx + gw - 1).to(device)
