"""A bottleneck of plain convolutions: arXiv:1512.03385, fig. 5 right. Loops over images, places and taps."""

from __future__ import annotations

from torch import Tensor

from .common import batch_norm, conv1x1
from .deform_conv import convolution, silu


def plain_conv(module, x: Tensor) -> Tensor:
    """PlainConv in eval mode."""
    x = silu(batch_norm(module.reduce.bn, conv1x1(module.reduce.conv, x)))
    x = silu(batch_norm(module.spatial.bn, convolution(module.spatial.conv, x)))
    return conv1x1(module.expand, x)
