"""SimAM: Yang et al., ICML 2021, eq. 5 (least energy of each pixel) and eq. 6 (its inverse as a gate)."""

import torch
from torch import Tensor

from .common import sigmoid


def simam(module, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            pixels = x[b, c].flatten()
            mu = pixels.sum() / len(pixels)
            variance = ((pixels - mu) ** 2).sum() / (len(pixels) - 1) if len(pixels) > 1 else 0.0
            lam = module.e_lambda
            energy = 4 * (variance + lam) / ((x[b, c] - mu) ** 2 + 2 * variance + 2 * lam)
            out[b, c] = x[b, c] * sigmoid(1 / energy)
    return out
