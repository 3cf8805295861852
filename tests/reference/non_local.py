"""NonLocal: arXiv:1711.07971, eq. 1 with eq. 3 (embedded Gaussian) or eq. 4 (dot product), eq. 6 (block)."""

import torch
from torch import Tensor

from .common import batch_norm, conv1x1


def non_local(module, x: Tensor) -> Tensor:
    theta, phi, g = (conv1x1(layer, x).flatten(2) for layer in (module.theta, module.phi, module.g))
    y = torch.zeros_like(theta)
    for b in range(x.shape[0]):
        for i in range(theta.shape[2]):
            products = phi[b].T @ theta[b, :, i]
            if module.mode == "dot_product":
                f, norm = products, products.numel()
            else:
                f = (products * module.scale).exp()
                norm = f.sum()
            y[b, :, i] = sum(f[j] * g[b, :, j] for j in range(len(f))) / norm
    return batch_norm(module.bn, conv1x1(module.out, y.view(*y.shape[:2], *x.shape[2:]))) + x
