"""Polarized attention: arXiv:2107.00782, eq. 1 (channels), eq. 2 (pixels), eq. 3 (parallel), eq. 4 (sequential)."""

import torch
from torch import Tensor

from .common import conv1x1, layer_norm


def softmax(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum()


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def by_channel(module, x: Tensor) -> Tensor:
    """x with its channels' gates."""
    q, v = conv1x1(module.conv_q_right, x), conv1x1(module.conv_v_right, x)
    pooled = torch.stack([(softmax(q[b, 0]) * v[b]).sum((1, 2)) for b in range(x.shape[0])])
    return sigmoid(layer_norm(module.ln, conv1x1(module.conv_up, pooled[:, :, None, None]))) * x


def by_pixel(module, x: Tensor) -> Tensor:
    """x with its pixels' gates."""
    q, v = conv1x1(module.conv_q_left, x), conv1x1(module.conv_v_left, x)
    out = torch.zeros_like(x)
    for b in range(x.shape[0]):
        weights = softmax(q[b].sum((1, 2)) / (x.shape[2] * x.shape[3]))
        out[b] = x[b] * sigmoid(sum(weight * part for weight, part in zip(weights, v[b], strict=True)))
    return out


def parallel(module, x: Tensor) -> Tensor:
    return by_channel(module, x) + by_pixel(module, x)


def sequential(module, x: Tensor) -> Tensor:
    return by_pixel(module, by_channel(module, x))
