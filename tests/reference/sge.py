"""SGE: arXiv:1905.09646, eq. 1 (mean), eq. 2 (likeness), eq. 3 (normalised), eq. 4 (line), eq. 5 (gate)."""

import torch
from torch import Tensor

from .common import sigmoid


def sge(module, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    b, c, h, w = x.shape
    width = c // module.num_groups
    for image in range(b):
        for k in range(module.num_groups):
            vectors = x[image, k * width : (k + 1) * width].flatten(1)  # width, pixels
            g = vectors.sum(1) / (h * w)
            likeness = torch.stack([g @ vectors[:, i] for i in range(h * w)])
            mu = likeness.sum() / (h * w)
            deviation = (((likeness - mu) ** 2).sum() / (h * w)).sqrt()
            line = module.weight[0, k] * (likeness - mu) / (deviation + 1e-5) + module.bias[0, k]
            out[image, k * width : (k + 1) * width] = (vectors * sigmoid(line)).view(width, h, w)
    return out
