"""DoubleAttention: arXiv:1810.11579, eq. 3-4 (gathering), eq. 5 (distribution), fig. 2 (block)."""

import torch
from torch import Tensor

from .common import conv1x1


def double_attention(module, x: Tensor) -> Tensor:
    a, b, v = (conv1x1(layer, x) for layer in (module.convA, module.convB, module.convV))
    z = torch.zeros_like(a)
    for n in range(x.shape[0]):
        gathered = []
        for i in range(b.shape[1]):
            weights = b[n, i].exp() / b[n, i].exp().sum()
            gathered.append((weights * a[n]).sum((1, 2)))
        for y in range(x.shape[2]):
            for w in range(x.shape[3]):
                share = v[n, :, y, w].exp() / v[n, :, y, w].exp().sum()
                z[n, :, y, w] = sum(s * g for s, g in zip(share, gathered, strict=True))
    return x + conv1x1(module.conv_reconstruct, z)
