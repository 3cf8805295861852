"""SIFA: arXiv:2206.06931, as its official code means it; loops over frames, pixels and the window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .common import bilinear


def sifa(module, clip: Tensor) -> Tensor:
    """SIFA of one clip (T, C, H, W)."""
    out = clip.clone()
    for t in range(1, len(clip)):
        gate = clip[t] * torch.sigmoid(clip[t] - clip[t - 1]) + clip[t]
        gathered = _gather(module, clip[t], clip[t - 1], _conv3x3(module.conv_offset.weight, gate), t)
        if not isinstance(module.scale, nn.Identity):
            gathered = gathered * module.scale.weight.view(-1, 1, 1)
        out[t - 1] = clip[t - 1] + gathered
    return out


def _gather(module, frame: Tensor, before: Tensor, offset: Tensor, t: int) -> Tensor:
    """Around every pixel of a frame, its window weighted by products with the pixel in the frame before."""
    size, dilation = module.kernel_size, module.dilation
    padding = (dilation * (size - 1) + 1) // 2
    weight = module.def_cor.weight[:, min(t, module.def_cor.weight.shape[1] - 1)]
    out = torch.zeros_like(frame)
    for y in range(frame.shape[1]):
        for x in range(frame.shape[2]):
            for i in range(size):
                for j in range(size):
                    dy, dx = offset[2 * (i * size + j) : 2 * (i * size + j) + 2, y, x]
                    sample = bilinear(frame, y - padding + i * dilation + dy, x - padding + j * dilation + dx)
                    product = (weight[:, i, j] * before[:, y, x] * sample).sum()
                    out[:, y, x] += product * sample
    return out


def _conv3x3(weight: Tensor, x: Tensor) -> Tensor:
    """A 3x3 convolution with padding, x (C, H, W)."""
    c, h, w = x.shape
    padded = x.new_zeros(c, h + 2, w + 2)
    padded[:, 1:-1, 1:-1] = x
    y = x.new_zeros(len(weight), h, w)
    for i in range(3):
        for j in range(3):
            y = y + torch.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + h, j : j + w])
    return y
