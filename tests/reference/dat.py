"""DAT: arXiv:2201.00520, eq. 5-9, with the official code's points; loops over images, heads, queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import pvt, swin
from .common import bilinear, conv1x1, depthwise, gelu, layer_norm


def attention(module, x: Tensor) -> Tensor:
    """DAttention in eval mode."""
    b, c, h, w = x.shape
    d, per_group = c // module.num_heads, c // module.num_groups
    q = conv1x1(module.proj_q, x)
    out = torch.zeros_like(x)
    for image in range(b):
        samples, positions = [], []
        for g in range(module.num_groups):
            channels = slice(g * per_group, (g + 1) * per_group)
            keys, points = _keys(module, x[image, channels], q[image, channels])
            samples.append(keys)
            positions.append(points)
        size = samples[0].shape[1:]
        sampled = torch.cat([s.reshape(per_group, -1) for s in samples])[None, :, :, None]  # 1 C N 1
        k, v = conv1x1(module.proj_k, sampled)[0, :, :, 0], conv1x1(module.proj_v, sampled)[0, :, :, 0]
        for head in range(module.num_heads):
            block = slice(head * d, (head + 1) * d)
            group = head * module.num_groups // module.num_heads if module.num_heads % module.num_groups == 0 else 0
            for i in range(h):
                for j in range(w):
                    logits = torch.stack([q[image, block, i, j] @ k[block, n] / d**0.5 for n in range(k.shape[1])])
                    bias = _bias(module, head, group, (i, j), (h, w), positions[group], size)
                    share = torch.softmax(logits + bias, 0)
                    out[image, block, i, j] = v[block] @ share
    if module.pe == "dwc" and not module.no_off:
        out = out + depthwise(module.rpe_table, q)
    return conv1x1(module.proj_out, out)


def block(module, x: Tensor, attention=attention) -> Tensor:
    """DATBlock in eval mode, or another attention's block."""

    def scaled(scale, y: Tensor) -> Tensor:
        return y if isinstance(scale, nn.Identity) else y * scale.weight.view(1, -1, 1, 1)

    x = x + scaled(module.scale1, attention(module.attn, layer_norm(module.norm1.norm, x)))
    return x + scaled(module.scale2, _mlp(module.mlp, layer_norm(module.norm2.norm, x)))


def stage(module, x: Tensor) -> Tensor:
    """DATStage in eval mode; what a block is, is read from the parameters that it has."""
    attentions = {"relative_position_bias_table": swin.attention, "conv_offset": attention, "kv": pvt.attention}
    for i, each in enumerate(module.blocks):
        if len(module.local_perception_units):
            x = x + depthwise(module.local_perception_units[i], x)
        kind = [name for name in attentions if hasattr(each.attn, name)]
        if kind:
            x = block(each, x, attentions[kind[0]])
        else:
            x = x + _mlp(each.mlp, layer_norm(each.norm.norm, depthwise(each.attn, x)))
    return x


def _mlp(module, x: Tensor) -> Tensor:
    if hasattr(module, "chunk"):
        first, last = module.chunk.linear1, module.chunk.linear2
        hidden = gelu(torch.einsum("oc,bchw->bohw", first.weight, x) + first.bias.view(1, -1, 1, 1))
        return torch.einsum("oc,bchw->bohw", last.weight, hidden) + last.bias.view(1, -1, 1, 1)
    y = conv1x1(module.linear1[0], x)
    return conv1x1(module.linear2[0], gelu(y + depthwise(module.dwc, y)))


def _keys(module, x: Tensor, q: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Sampled map (C, h, w) of one image and group, and its points as (y, x)."""
    c, h, w = x.shape
    if module.no_off:
        s = module.stride
        whole = module.conv_offset[0].kernel_size[0] == s  # then only whole cells count, as with offsets
        kh, kw = (max(n // s, 1) if whole else math.ceil(n / s) for n in (h, w))
        pooled = x.new_zeros(c, kh, kw)
        for i in range(kh):
            for j in range(kw):
                pooled[:, i, j] = x[:, i * s : (i + 1) * s, j * s : (j + 1) * s].mean((1, 2))
        return pooled, []
    depth, norm, _, point = module.conv_offset
    if depth.kernel_size[0] == module.stride:  # no padding: a smaller map is filled up with zeros
        full = q.new_zeros(c, max(h, module.stride), max(w, module.stride))
        full[:, :h, :w] = q
        q = full
    offset = conv1x1(point, gelu(layer_norm(norm.norm, depthwise(depth, q[None]))))[0]
    kh, kw = offset.shape[1:]
    sampled, points = x.new_zeros(c, kh, kw), []
    for i in range(kh):
        for j in range(kw):
            reference = [0.0 if n == 1 else (p + 0.5) / (n - 1) * 2 - 1 for p, n in ((i, kh), (j, kw))]
            if module.offset_range < 0:
                at = [(offset[a, i, j] + reference[a]).clamp(-1, 1) for a in (0, 1)]
            else:
                at = [
                    torch.tanh(offset[a, i, j]) / max(n - 1, 1) * module.offset_range + reference[a]
                    for a, n in ((0, kh), (1, kw))
                ]
            sampled[:, i, j] = bilinear(x, (at[0] + 1) / 2 * (h - 1), (at[1] + 1) / 2 * (w - 1))
            points.append(torch.stack(at))
    return sampled, points


def _bias(module, head: int, group: int, query, size, points: list[Tensor], key_size) -> Tensor | float:
    """Bias of one query's logits against all keys."""
    if module.no_off or module.pe in ("dwc", "none"):
        return 0.0
    (i, j), (h, w) = query, size
    if module.pe == "fixed":  # at the size that the table was made for
        return module.rpe_table[head, i * w + j]
    at = [0.0 if n == 1 else p / (n - 1) * 2 - 1 for p, n in ((i, h), (j, w))]
    biases = []
    for point in points:
        d = torch.stack([at[0] - point[0], at[1] - point[1]])
        if module.pe == "table":
            table = module.rpe_table[head : head + 1]
            th, tw = table.shape[1:]
            biases.append(bilinear(table, (d[0] / 2 + 1) / 2 * (th - 1), (d[1] / 2 + 1) / 2 * (tw - 1))[0])
        else:
            d = torch.sign(4 * d) * torch.log2((4 * d).abs() + 1) / math.log2(8)
            first, _, last = module.rpe_table
            hidden = (first.weight @ d + first.bias).clamp(min=0)
            biases.append(last.weight[head % (module.num_heads // module.num_groups)] @ hidden)
    return torch.stack(biases)
