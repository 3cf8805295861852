"""ShuffleAttention: arXiv:2102.00240, eq. 1-2 (gate per channel), eq. 3 (gate per pixel), and the channel shuffle."""

import torch
from torch import Tensor

from .common import sigmoid


def shuffle_attention(module, x: Tensor) -> Tensor:
    c = x.shape[1]
    half = c // (2 * module.num_groups)
    joined = []
    for g in range(module.num_groups):
        start = 2 * g * half
        for k in range(half):
            one = x[:, start + k]
            s = one.mean((1, 2), keepdim=True)
            joined.append(one * sigmoid(module.cweight[0, k] * s + module.cbias[0, k]))
        for k in range(half):
            one = x[:, start + half + k]
            centred = one - one.mean((1, 2), keepdim=True)
            normed = centred / ((centred**2).mean((1, 2), keepdim=True) + module.gn.eps).sqrt()
            normed = normed * module.gn.weight[k] + module.gn.bias[k]
            joined.append(one * sigmoid(module.sweight[0, k] * normed + module.sbias[0, k]))
    return torch.stack([joined[i // 2 + (i % 2) * (c // 2)] for i in range(c)], 1)
