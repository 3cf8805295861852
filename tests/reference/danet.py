"""DANet: arXiv:1809.02983, eq. 1-2 (positions) and eq. 3-4 (channels); the official sign where asked for."""

import torch
from torch import Tensor

from .common import conv1x1


def position(module, x: Tensor) -> Tensor:
    b, c, d = (conv1x1(layer, x).flatten(2) for layer in (module.query_conv, module.key_conv, module.value_conv))
    out = x.flatten(2).clone()
    for n in range(x.shape[0]):
        for j in range(out.shape[2]):
            s = torch.stack([(b[n, :, j] @ c[n, :, i]).exp() for i in range(out.shape[2])])
            out[n, :, j] += module.gamma * sum(s[i] / s.sum() * d[n, :, i] for i in range(len(s)))
    return out.view_as(x)


def channel(module, x: Tensor) -> Tensor:
    a = x.flatten(2)
    out = a.clone()
    for n in range(x.shape[0]):
        for j in range(x.shape[1]):
            energy = torch.stack([a[n, i] @ a[n, j] for i in range(x.shape[1])])
            if module.reverse:
                energy = energy.max() - energy
            weights = (energy - energy.max()).exp()
            out[n, j] += module.gamma * sum(weights[i] / weights.sum() * a[n, i] for i in range(len(weights)))
    return out.view_as(x)
