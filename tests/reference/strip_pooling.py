"""Strip pooling: arXiv:2003.13328, eq. 2-3 (means of rows and columns), 4 (their sum), 5 (the gate)."""

from torch import Tensor

from .common import batch_norm, conv1x1
from .deform_conv import convolution


def strip_pooling(module, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    rows = batch_norm(module.bn1, convolution(module.conv1, x.sum(3, keepdim=True) / w))
    columns = batch_norm(module.bn2, convolution(module.conv2, x.sum(2, keepdim=True) / h))
    y = x.new_zeros(x.shape)
    for i in range(h):
        for j in range(w):
            y[:, :, i, j] = rows[:, :, i, 0] + columns[:, :, 0, j]
    return x / (1 + (-conv1x1(module.conv3, y.clamp(min=0))).exp())
