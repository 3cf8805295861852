"""Window attention, regular and shifted: a roll, copies of the windows and a mask (arXiv:2103.14030, section 3.2)."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -100.0


def published(module: Any, x: Tensor) -> Tensor:
    """LocalAttention or ShiftWindowAttention of a map (B, C, H, W)."""
    b, c, h, w = x.shape
    (wh, ww), shift, n = module.window_size, module.shift_size, module.num_heads
    height, width = -(-h // wh) * wh, -(-w // ww) * ww
    full = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, width - w, 0, height - h))
    if shift:
        full = torch.roll(full, (-shift, -shift), (1, 2))
    windows = _partition(full, wh, ww)  # B windows, wh ww, C
    qkv = module.proj_qkv(windows).reshape(len(windows), wh * ww, 3, n, c // n).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    attn = (q * (c // n) ** -0.5) @ k.transpose(-2, -1)
    table = module.relative_position_bias_table[module.relative_position_index.reshape(-1)]
    attn = attn + table.reshape(wh * ww, wh * ww, n).permute(2, 0, 1).contiguous()
    if shift or (height, width) != (h, w):
        mask = _mask(h, w, wh, ww, shift, x.device)
        attn = attn.reshape(b, len(mask), n, wh * ww, wh * ww) + mask[None, :, None]
        attn = attn.reshape(-1, n, wh * ww, wh * ww)
    out = (attn.softmax(-1) @ v).transpose(1, 2).reshape(len(windows), wh * ww, c)
    out = module.proj_out(out).reshape(b, height // wh, width // ww, wh, ww, c)
    out = out.permute(0, 1, 3, 2, 4, 5).reshape(b, height, width, c)
    if shift:
        out = torch.roll(out, (shift, shift), (1, 2))
    return out[:, :h, :w].permute(0, 3, 1, 2).contiguous()


def _partition(x: Tensor, wh: int, ww: int) -> Tensor:
    b, h, w, c = x.shape
    return x.reshape(b, h // wh, wh, w // ww, ww, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, wh * ww, c)


@functools.lru_cache(maxsize=8)  # made once, as a buffer is
def _mask(h: int, w: int, wh: int, ww: int, shift: int, device: torch.device) -> Tensor:
    """Which pairs (windows, N, N) of a map's padded and shifted windows are none."""
    regions = torch.zeros(1, -(-h // wh) * wh, -(-w // ww) * ww, 1, device=device)
    regions[:, :h, :w] = 1
    regions[:, :shift, :w] += 2
    regions[:, :h, :shift] += 4
    parts = _partition(torch.roll(regions, (-shift, -shift), (1, 2)), wh, ww)[..., 0]
    return (parts[:, :, None] != parts[:, None]) * MASKED
