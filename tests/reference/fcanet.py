"""FcaNet: arXiv:2012.11929, section 3: groups of channels, each pooled by a basis of the DCT, then a gate."""

from math import cos, pi

import torch
from torch import Tensor


def fcanet(module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    size = c // len(module.frequencies)
    pooled = x.new_zeros(b, c)
    for k in range(c):
        u, v = (min(f, n - 1) for f, n in zip(module.frequencies[k // size], (h, w), strict=True))
        for i in range(h):
            for j in range(w):
                pooled[:, k] += x[:, k, i, j] * _basis(u, i, h) * _basis(v, j, w)
    first, _, last = module.fc
    gate = (pooled * 7 / (h * w) ** 0.5 @ first.weight.T).clamp(min=0) @ last.weight.T
    return x / (1 + torch.exp(-gate))[:, :, None, None]


def _basis(u: int, i: int, n: int) -> float:
    """An element of the orthonormal DCT of n pixels."""
    return cos(pi * u * (i + 0.5) / n) * ((2 if u else 1) / n) ** 0.5
