"""SRM: arXiv:1903.10829, section 3: style pooling, style integration."""

import torch
from torch import Tensor

from .common import batch_norm


def srm(module, x: Tensor) -> Tensor:
    n = x.shape[2] * x.shape[3]
    z = x.new_zeros(*x.shape[:2], 1, 1)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            mean = x[b, c].sum() / n
            deviation = (((x[b, c] - mean) ** 2).sum() / n + module.eps) ** 0.5
            z[b, c] = module.cfc[c] @ torch.stack([mean, deviation])
    return x / (1 + (-batch_norm(module.bn, z)).exp())
