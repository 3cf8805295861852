"""ELA: arXiv:2403.01123, eq. 4 (means), eq. 5-6 (gates), eq. 7 (result)."""

import torch
from torch import Tensor

from .common import sigmoid


def ela(module, x: Tensor) -> Tensor:
    def gate(strip: Tensor) -> Tensor:
        (b, c, n), weight, norm = strip.shape, module.conv.weight, module.gn
        size, middle = weight.shape[1], weight.shape[2] // 2
        y = torch.zeros_like(strip)
        for o in range(c):
            for i in range(size):
                for k in range(weight.shape[2]):
                    for p in range(max(middle - k, 0), min(n, n + middle - k)):
                        y[:, o, p] += weight[o, i, k] * strip[:, o // size * size + i, p + k - middle]
        groups = y.reshape(b, norm.num_groups, -1)
        mean = groups.mean(2, keepdim=True)
        deviation = (((groups - mean) ** 2).mean(2, keepdim=True) + norm.eps).sqrt()
        y = ((groups - mean) / deviation).reshape(b, c, n)
        return sigmoid(y * norm.weight.view(1, -1, 1) + norm.bias.view(1, -1, 1))

    rows, columns = gate(x.sum(3) / x.shape[3]), gate(x.sum(2) / x.shape[2])
    return torch.einsum("bchw,bch,bcw->bchw", x, rows, columns)
