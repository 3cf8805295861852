"""CrissCross: arXiv:1811.11721, eq. 1 (affinity, softmax over H + W - 1) and eq. 2 (aggregation), applied R times."""

import torch
from torch import Tensor

from .common import conv1x1


def criss_cross(module, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    for _ in range(module.recurrence):
        q, k, v = (conv1x1(layer, x) for layer in (module.query_conv, module.key_conv, module.value_conv))
        out = torch.zeros_like(x)
        for b in range(x.shape[0]):
            for i in range(h):
                for j in range(w):
                    cross = sorted({(i, n) for n in range(w)} | {(n, j) for n in range(h)})
                    assert len(cross) == h + w - 1
                    weights = torch.stack([q[b, :, i, j] @ k[b, :, y, x] for y, x in cross]).exp()
                    weights = weights / weights.sum()
                    out[b, :, i, j] = sum(a * v[b, :, y, x] for a, (y, x) in zip(weights, cross, strict=True))
        x = module.gamma * out + x
    return x
