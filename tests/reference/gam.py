"""GAM: arXiv:2112.05561, eq. 1 (gate of each pixel's channels), eq. 2 (gate of its surroundings)."""

import torch
from torch import Tensor

from .common import batch_norm, conv2d, sigmoid


def gam(module, x: Tensor) -> Tensor:
    permuted = x.permute(0, 2, 3, 1)  # B H W C
    hidden = permuted @ module.linear1.weight[:, :, 0, 0].T + module.linear1.bias
    first = hidden.clamp(min=0) @ module.linear2.weight[:, :, 0, 0].T + module.linear2.bias
    x = x * sigmoid(first.permute(0, 3, 1, 2))
    y = batch_norm(module.norm1, conv2d(module.conv1, x)).clamp(min=0)
    each = y.shape[1] // module.num_groups
    y = torch.stack([y[:, g * each + k] for k in range(each) for g in range(module.num_groups)], 1)
    return x * sigmoid(batch_norm(module.norm2, conv2d(module.conv2, y)))
