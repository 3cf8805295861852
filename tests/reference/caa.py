"""CAA: arXiv:2403.06258, section 3.3: means of 7x7 pixels, two strips between two 1x1 convolutions, a gate."""

from torch import Tensor

from .common import conv1x1, depthwise


def caa(module, x: Tensor) -> Tensor:
    y = depthwise(module.h_conv.conv, conv1x1(module.conv1.conv, _means(x)))
    y = conv1x1(module.conv2.conv, depthwise(module.v_conv.conv, y))
    return x / (1 + (-y).exp())


def _means(x: Tensor) -> Tensor:
    """Sums of 7x7 pixels, those outside of the map zero, over 49."""
    y = x.new_zeros(x.shape)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            y[:, :, i, j] = x[:, :, max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4].sum((2, 3)) / 49
    return y
