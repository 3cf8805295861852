"""Windowed attention: arXiv:2103.14030, eq. 4 and section 3.2; loops over images, heads and pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(module, x: Tensor) -> Tensor:
    """LocalAttention and ShiftWindowAttention in eval mode: a pixel attends to those that lie in its window."""
    b, c, h, w = x.shape
    d, (wh, ww), shift = c // module.num_heads, module.window_size, module.shift_size
    to_qkv, to_out = module.proj_qkv, module.proj_out
    q, k, v = (torch.einsum("oc,bchw->bohw", to_qkv.weight, x) + to_qkv.bias.view(1, -1, 1, 1)).split(c, 1)

    def window(i: int, j: int) -> tuple[int, int]:
        """The window of a pixel: borders lie at `shift` and whole windows from there."""
        return (i - shift) // wh, (j - shift) // ww

    pixels = [(i, j) for i in range(h) for j in range(w)]
    out = torch.zeros_like(x)
    for image in range(b):
        for head in range(module.num_heads):
            block = slice(head * d, (head + 1) * d)
            for i, j in pixels:
                seen = [(m, n) for m, n in pixels if window(m, n) == window(i, j)]
                logits = []
                for m, n in seen:
                    entry = (i - m + wh - 1) * (2 * ww - 1) + (j - n + ww - 1)  # the table, row by row
                    bias = module.relative_position_bias_table[entry, head]
                    logits.append(q[image, block, i, j] @ k[image, block, m, n] / d**0.5 + bias)
                share = torch.softmax(torch.stack(logits), 0)
                out[image, block, i, j] = sum(s * v[image, block, m, n] for s, (m, n) in zip(share, seen, strict=True))
    return torch.einsum("oc,bchw->bohw", to_out.weight, out) + to_out.bias.view(1, -1, 1, 1)
