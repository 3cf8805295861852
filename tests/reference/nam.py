"""NAM: arXiv:2111.12419, eq. 1 (batch normalisation), eq. 2 (weights from its scale factors)."""

import torch
from torch import Tensor

from .common import batch_norm


def nam(module, x: Tensor) -> Tensor:
    normed, gamma = batch_norm(module.bn, x), module.bn.weight
    out = torch.zeros_like(x)
    for c in range(x.shape[1]):
        weight = abs(gamma[c]) / sum(abs(g) for g in gamma)
        out[:, c] = x[:, c] / (1 + torch.exp(-weight * normed[:, c]))
    return out
