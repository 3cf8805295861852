"""MLCA: Wan et al., 2023, section 3.2. Loops over patches, channels and pixels."""

import math

import torch
from torch import Tensor


def mlca(module, x: Tensor) -> Tensor:
    n, (b, c, h, w) = module.local_size, x.shape
    out = torch.zeros_like(x)
    for image in range(b):
        patches = _pooled(x[image], n, n)
        local = torch.stack(
            [patches[:, i, j] for i in range(n) for j in range(n)]
        ).flatten()  # channels of each in turn
        local = _sigmoid(_convolved(module.conv_local, local)).view(n, n, c)
        whole = _sigmoid(_convolved(module.conv, patches.sum((1, 2)) / n**2))
        mixed = module.local_weight * local + (1 - module.local_weight) * whole
        out[image] = x[image] * _pooled(mixed.permute(2, 0, 1), h, w)
    return out


def _pooled(x: Tensor, rows: int, columns: int) -> Tensor:
    """Means of (C, H, W) over the pixels that a bin touches, from the floor of its start to the ceiling of its end."""
    h, w = x.shape[1:]
    y = x.new_zeros(len(x), rows, columns)
    for i in range(rows):
        for j in range(columns):
            top, bottom = math.floor(i * h / rows), math.ceil((i + 1) * h / rows)
            left, right = math.floor(j * w / columns), math.ceil((j + 1) * w / columns)
            y[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    return y


def _convolved(layer, x: Tensor) -> Tensor:
    weight = layer.weight.flatten()
    reach = len(weight) // 2
    return torch.stack([
        sum(weight[k] * x[i + k - reach] for k in range(len(weight)) if 0 <= i + k - reach < len(x))
        for i in range(len(x))
    ])  # fmt: skip


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())
