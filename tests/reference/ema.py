"""EMA: arXiv:2305.13563, eq. 1-3 (means along rows, columns and both), fig. 3b. Loops over images, groups, pixels."""

import torch
from torch import Tensor

from .common import conv1x1
from .deform_conv import convolution


def ema(module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    width = c // module.num_groups
    out = torch.zeros_like(x)
    for image in range(b):
        for first in range(0, c, width):
            group = x[image, first : first + width]
            out[image, first : first + width] = group * _gate(module, group, h, w)
    return out


def _gate(module, x: Tensor, h: int, w: int) -> Tensor:
    """The gate (H, W) of one group (c, H, W)."""
    along = torch.cat([x.sum(2) / w, x.sum(1) / h], 1)  # one sequence, the rows' means and then the columns'
    along = _sigmoid(conv1x1(module.conv1x1, along[None, :, :, None]))[0, :, :, 0]
    y = x * along[:, :h, None] * along[:, None, h:]
    mean = y.mean((1, 2), keepdim=True)
    y = (y - mean) / (((y - mean) ** 2).mean((1, 2), keepdim=True) + module.gn.eps).sqrt()
    y = y * module.gn.weight.view(-1, 1, 1) + module.gn.bias.view(-1, 1, 1)
    z = convolution(module.conv3x3, x[None])[0]
    gate = x.new_zeros(h, w)
    for k in range(len(x)):
        gate = gate + _share(y, k) * z[k] + _share(z, k) * y[k]
    return _sigmoid(gate)


def _share(x: Tensor, k: int) -> Tensor:
    """Softmax over the channels' means, the k-th."""
    means = [channel.sum() / channel.numel() for channel in x]
    return means[k].exp() / sum(mean.exp() for mean in means)


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())
