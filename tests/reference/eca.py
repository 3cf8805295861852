"""ECA: arXiv:1910.03151 (C1D of size k): the gate of channel i weighs the averages of the k channels around it."""

import torch
from torch import Tensor


def eca(module, x: Tensor) -> Tensor:
    (weights,) = module.conv.weight[0]
    k, c = len(weights), x.shape[1]
    average = x.sum((2, 3)) / (x.shape[2] * x.shape[3])
    out = torch.zeros_like(x)
    for i in range(c):
        near = [(weights[j], i + j - k // 2) for j in range(k)]
        total = sum(weight * average[:, n] for weight, n in near if 0 <= n < c)
        total = total if module.conv.bias is None else total + module.conv.bias
        out[:, i] = x[:, i] / (1 + torch.exp(-total)).view(-1, 1, 1)
    return out
