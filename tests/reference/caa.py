"""CAA: arXiv:2403.06258, section 3.3, with the normalisations and activations of the official code."""

from torch import Tensor

from .common import batch_norm, conv1x1, depthwise
from .deform_conv import silu


def caa(module, x: Tensor) -> Tensor:
    y = depthwise(module.h_conv.conv, _mixed(module.conv1, _means(x)))
    y = _mixed(module.conv2, depthwise(module.v_conv.conv, y))
    return x / (1 + (-y).exp())


def _mixed(block, x: Tensor) -> Tensor:
    return silu(batch_norm(block.bn, conv1x1(block.conv, x)))


def _means(x: Tensor) -> Tensor:
    """Sums of 7x7 pixels, those outside of the map zero, over 49."""
    y = x.new_zeros(x.shape)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            y[:, :, i, j] = x[:, :, max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4].sum((2, 3)) / 49
    return y
