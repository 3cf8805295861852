"""CrossFormer: arXiv:2108.00154, eq. 1-2, section 3; loops over images, heads, queries and the members of a group."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .common import batch_norm, depthwise, gelu, layer_norm


def block(module, x: Tensor) -> Tensor:
    """CrossFormerBlock in eval mode."""
    y = layer_norm(module.norm1, x)
    if module.cpe is not None:
        y = y + layer_norm(module.norm_cpe, depthwise(module.cpe, y))
    x = x + _attention(module, y)
    y = gelu(_linear(module.mlp.fc1, layer_norm(module.norm2, x)))
    x = x + _linear(module.mlp.fc2, y)
    return x if module.ex_conv is None else layer_norm(module.ex_ln, depthwise(module.ex_conv, x))


def stage(module, x: Tensor) -> Tensor:
    """CrossFormerStage in eval mode."""
    for i, each in enumerate(module.blocks):
        assert each.long_distance == bool(i % 2)
        x = block(each, x)
    return x


def embed(module, x: Tensor) -> Tensor:
    """CrossScaleEmbed in eval mode: every output pixel is made from the stride x stride pixels that it stands for and
    as many around them as each kernel reaches."""
    if module.norm_first:
        x = layer_norm(module.norm, x)
    b, _, h, w = x.shape
    s = module.stride
    scales = []
    for conv in module.projs:
        k = conv.kernel_size[0]
        reach = (k - s) // 2
        y = x.new_zeros(b, conv.out_channels, math.ceil(h / s), math.ceil(w / s))
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                if conv.bias is not None:
                    y[:, :, i, j] += conv.bias
                for u in range(k):
                    for v in range(k):
                        py, px = i * s - reach + u, j * s - reach + v
                        if 0 <= py < h and 0 <= px < w:
                            y[:, :, i, j] += x[:, :, py, px] @ conv.weight[:, :, u, v].T
        scales.append(y)
    y = torch.cat(scales, 1)
    if isinstance(module.norm, nn.LayerNorm) and not module.norm_first:
        return layer_norm(module.norm, y)
    if isinstance(module.norm, nn.Sequential):
        y = batch_norm(module.norm[0], y)
        return y * torch.sigmoid(y)
    return y


def position_bias(dpb, dy: float, dx: float) -> Tensor:
    """The bias of each head for one relative position: Linear, then three times LayerNorm, ReLU, Linear."""
    p = dpb.pos_proj.weight @ torch.tensor([dy, dx], dtype=torch.float64) + dpb.pos_proj.bias
    for norm, _, linear in (dpb.pos1, dpb.pos2, dpb.pos3):
        centred = p - p.mean()
        q = centred / ((centred**2).mean() + norm.eps) ** 0.5 * norm.weight + norm.bias
        q = linear.weight @ q.clamp(min=0) + linear.bias
        p = p + q if dpb.residual and linear is not dpb.pos3[2] else q
    return p


def _linear(layer, x: Tensor) -> Tensor:
    y = torch.einsum("oc,bchw->bohw", layer.weight, x)
    return y if layer.bias is None else y + layer.bias.view(1, -1, 1, 1)


def _attention(module, x: Tensor) -> Tensor:
    """Each position looks at the members of its group; where padding takes part, positions outside are zeros."""
    attn = module.attn
    b, c, h, w = x.shape
    heads, d = attn.num_heads, c // attn.num_heads
    scale = d**-0.5 if attn.scale is None else attn.scale
    size, interval = _grouping(module, h, w)
    left = [-(n // -(g * interval)) * g * interval - n for n, g in zip((h, w), size, strict=True)]  # padding
    top = [n // 2 if module.split_padding else 0 for n in left]

    def qkv(image: int, at: tuple[int, int]) -> Tensor:
        i, j = at[0] - top[0], at[1] - top[1]
        inside = 0 <= i < h and 0 <= j < w
        y = attn.qkv.weight @ (x[image, :, i, j] if inside else x.new_zeros(c))
        return (y if attn.qkv.bias is None else y + attn.qkv.bias).reshape(3, heads, d)

    def members(at: tuple[int, int]) -> list[tuple[int, int]]:
        first = [p // (g * interval) * g * interval + p % interval for p, g in zip(at, size, strict=True)]
        return [
            (first[0] + m * interval, first[1] + n * interval)
            for m in range(size[0])
            for n in range(size[1])
            if module.no_mask
            or (0 <= first[0] + m * interval - top[0] < h and 0 <= first[1] + n * interval - top[1] < w)
        ]

    out = torch.zeros_like(x)
    for image in range(b):
        for i in range(h):
            for j in range(w):
                at = (i + top[0], j + top[1])
                q = qkv(image, at)[0]
                keys = members(at)
                logits, values = [], []
                for key in keys:
                    _, k, v = qkv(image, key)
                    bias = x.new_zeros(heads)
                    if attn.pos is not None:
                        bias = position_bias(attn.pos, (at[0] - key[0]) / interval, (at[1] - key[1]) / interval)
                    logits.append((q * k).sum(1) * scale + bias)
                    values.append(v)
                share = torch.softmax(torch.stack(logits), 0)
                out[image, :, i, j] = sum(s[:, None] * v for s, v in zip(share, values, strict=True)).reshape(c)
    return _linear(attn.proj, out)


def _grouping(module, h: int, w: int) -> tuple[tuple[int, int], int]:
    """Height and width of a group, and the distance between its neighbours."""
    g = module.group_size
    if min(h, w) <= g:
        return ((h, w) if module.detection else (min(h, w), min(h, w))), 1
    if not module.long_distance:
        return (g, g), 1
    if module.adaptive_interval:
        return (g, g), math.ceil((max(h, w) if module.detection else h) / g)
    return (g, g), module.interval
