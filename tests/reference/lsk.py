"""LSK: arXiv:2303.09030, eq. 3-4 (two kernels), 5-8 (which one at each pixel), 9-10 (the gate). Loops over pixels."""

import torch
from torch import Tensor

from .common import conv1x1
from .deform_conv import convolution


def lsk(module, x: Tensor) -> Tensor:
    u1 = convolution(module.conv0, x)
    u2 = convolution(module.conv_spatial, u1)
    u1, u2 = conv1x1(module.conv1, u1), conv1x1(module.conv2, u2)
    b, half, h, w = u1.shape
    pooled = x.new_zeros(b, 2, h, w)
    for image in range(b):
        for i in range(h):
            for j in range(w):
                values = [*u1[image, :, i, j], *u2[image, :, i, j]]
                pooled[image, 0, i, j] = sum(values) / (2 * half)
                pooled[image, 1, i, j] = max(values)
    share = 1 / (1 + (-convolution(module.conv_squeeze, pooled)).exp())
    return x * conv1x1(module.conv, torch.stack([share[:, n : n + 1] * u for n, u in enumerate((u1, u2))]).sum(0))
