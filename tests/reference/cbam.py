"""CBAM: arXiv:1807.06521, eq. 2 (gate per channel) and eq. 3 (gate per pixel), with the official code's BatchNorm."""

import torch
from torch import Tensor

from .common import batch_norm, conv1x1, conv2d, sigmoid


def cbam(module, x: Tensor) -> Tensor:
    def mlp(v: Tensor) -> Tensor:
        return conv1x1(module.fc2, conv1x1(module.fc1, v).clamp(min=0))

    pixels = x.flatten(2)  # B C N
    average = pixels.sum(2) / pixels.shape[2]
    largest = pixels.sort(2).values[:, :, -1]
    x = x * sigmoid(mlp(average[:, :, None, None]) + mlp(largest[:, :, None, None]))
    average = x.sum(1) / x.shape[1]
    largest = x.sort(1).values[:, -1]
    return x * sigmoid(batch_norm(module.spatial.bn, conv2d(module.spatial.conv, torch.stack([average, largest], 1))))
