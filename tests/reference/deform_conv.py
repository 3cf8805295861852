"""Deformable convolution: arXiv:1703.06211, eq. 2-3; arXiv:1811.11168, eq. 1. Loops over images, places and taps."""

from __future__ import annotations

import torch
from torch import Tensor

from .common import batch_norm, bilinear


def convolution(conv, x: Tensor, offset: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """The convolution of a layer `conv` with moved and weighted taps; a plain one without offset."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    b, c1, h, w = x.shape
    c2, per_group = conv.weight.shape[:2]
    oh, ow = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    groups = 1 if offset is None else offset.shape[1] // (2 * kh * kw)
    width = c1 // groups  # channels that move together
    y = x.new_zeros(b, c2, oh, ow)
    for image in range(b):
        for i in range(oh):
            for j in range(ow):
                for tap in range(kh * kw):
                    k, m = divmod(tap, kw)
                    seen = []
                    for g in range(groups):
                        at = g * kh * kw + tap
                        row, column = i * sh - ph + k * dh, j * sw - pw + m * dw
                        if offset is not None:
                            row = row + offset[image, 2 * at, i, j]
                            column = column + offset[image, 2 * at + 1, i, j]
                        value = bilinear(x[image, g * width : (g + 1) * width], row, column)
                        seen.append(value if mask is None else value * mask[image, at, i, j])
                    channels = torch.cat(seen)
                    for out in range(c2):
                        first = out // (c2 * per_group // c1) * per_group
                        y[image, out, i, j] += conv.weight[out, :, k, m] @ channels[first : first + per_group]
    return y if conv.bias is None else y + conv.bias.view(1, -1, 1, 1)


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def deform_conv(module, x: Tensor) -> Tensor:
    """DeformConv in eval mode."""
    moves = convolution(module.conv_offset, x)
    conv = module.conv
    thirds = moves.shape[1] // 3
    offset, mask = (
        (moves[:, : 2 * thirds], 2 / (1 + (-moves[:, 2 * thirds :]).exp())) if module.modulated else (moves, None)
    )
    y = batch_norm(module.bn, convolution(conv, x, offset, mask))
    return y if isinstance(module.act, torch.nn.Identity) else silu(y)


def c2f(module, x: Tensor) -> Tensor:
    """C2fDCN in eval mode."""

    def plain(layer, x: Tensor) -> Tensor:
        return silu(batch_norm(layer.bn, convolution(layer.conv, x)))

    y = plain(module.cv1, x)
    half = y.shape[1] // 2
    parts = [y[:, :half], y[:, half:]]
    for bottleneck in module.m:
        z = deform_conv(bottleneck.cv2, plain(bottleneck.cv1, parts[-1]))
        parts.append(parts[-1] + z if bottleneck.shortcut else z)
    return plain(module.cv2, torch.cat(parts, 1))
