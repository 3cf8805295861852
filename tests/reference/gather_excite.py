"""Gather-Excite: arXiv:1810.12348: gather over an extent, resize by nearest neighbour, excite."""

import torch
from torch import Tensor

from .common import batch_norm, conv1x1, depthwise


def gather_excite(module, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    context = _gathered(module, x)
    if hasattr(module.mlp, "fc1"):
        context = conv1x1(module.mlp.fc2, conv1x1(module.mlp.fc1, context).clamp(min=0))
    out = torch.zeros_like(x)
    for i in range(h):
        for j in range(w):
            near = context[:, :, i * context.shape[2] // h, j * context.shape[3] // w]
            out[:, :, i, j] = x[:, :, i, j] / (1 + (-near).exp())
    return out


def _gathered(module, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    if module.gather is not None:
        steps = len(module.gather) // 3 + 1  # the last has no ReLU
        for i in range(1, steps + 1):
            x = batch_norm(getattr(module.gather, f"norm{i}"), depthwise(getattr(module.gather, f"conv{i}"), x))
            x = x.clamp(min=0) if i < steps else x
        return x
    e = module.extent
    if e == 0:
        return x.sum((2, 3), keepdim=True) / (h * w)
    windows = [
        [x[:, :, max(i - e + 1, 0) : i + e, max(j - e + 1, 0) : j + e].mean((2, 3)) for j in range(0, w, e)]
        for i in range(0, h, e)
    ]
    return torch.stack([torch.stack(row, -1) for row in windows], -2)
