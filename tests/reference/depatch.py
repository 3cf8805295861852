"""DePatch: arXiv:2107.14467, section 3.2; loops over images, patches and points."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .common import bilinear, gelu


def depatch(module, x: Tensor) -> Tensor:
    """DePatch in eval mode."""
    b, _, h, w = x.shape
    rows, columns = math.ceil(h / module.stride), math.ceil(w / module.stride)
    y = x.new_zeros(b, module.output_proj.out_features, rows, columns)
    for image in range(b):
        for i in range(rows):
            for j in range(columns):
                code = _code(module, x[image], i, j, rows, columns)
                left, right = _interval(module, code[0], code[2], (j + 0.5) / columns, 1 / columns, axis=0)
                top, bottom = _interval(module, code[1], code[3], (i + 0.5) / rows, 1 / rows, axis=1)
                samples = []
                for at_x in _points(left, right, module.patch_pixel):
                    for at_y in _points(top, bottom, module.patch_pixel):
                        samples.append(bilinear(x[image], at_y * h - 0.5, at_x * w - 0.5))  # a pixel's centre is at .5
                result = module.output_proj.weight @ torch.cat(samples) + module.output_proj.bias
                y[image, :, i, j] = _norm(module.norm, result)
    return y


def _code(module, x: Tensor, i: int, j: int, rows: int, columns: int) -> Tensor:
    """The four numbers that patch (i, j) predicts: x, y, width, height."""
    conv = module.patch_embed.proj
    k, s = conv.kernel_size[0], module.stride
    above, before = (max(s * (n - 1) + k - m, 0) // 2 for n, m in ((rows, x.shape[1]), (columns, x.shape[2])))
    window = x.new_zeros(x.shape[0], k, k)
    for di in range(k):
        for dj in range(k):
            at = i * s + di - above, j * s + dj - before
            if 0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]:
                window[:, di, dj] = x[:, at[0], at[1]]
    code = _norm(module.patch_embed.norm, (conv.weight * window).sum((1, 2, 3)) + conv.bias)
    if isinstance(module.offset_predictor, nn.Identity):
        return code
    return module.offset_predictor.weight @ (gelu(code) if isinstance(module.act, nn.GELU) else code)


def _interval(module, move: Tensor, size: Tensor, centre: float, patch: float, axis: int) -> tuple[Tensor, Tensor]:
    """Both ends of a box on one axis of a map from 0 to 1."""
    coder = module.box_coder
    move = move / coder.weights[axis]
    centre = centre + patch * (torch.tanh(move) if coder.tanh else move)
    bias = 0 if coder.wh_bias is None else coder.wh_bias[axis]
    half = patch * torch.tanh((size + bias) / coder.size_weights[axis]).clamp(min=0)
    return (centre - half).clamp(0, 1), (centre + half).clamp(0, 1)


def _points(low: Tensor, high: Tensor, k: int) -> list[Tensor]:
    return [low + (high - low) * (n / (k - 1) if k > 1 else 0) for n in range(k)]


def _norm(norm, x: Tensor) -> Tensor:
    """LayerNorm of one vector."""
    if isinstance(norm, nn.Identity):
        return x
    variance = ((x - x.mean()) ** 2).mean()
    return (x - x.mean()) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
