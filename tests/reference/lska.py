"""LSKA: arXiv:2309.01439, section 3: strips of 2 d - 1 pixels, then strips of k // d pixels d apart."""

from torch import Tensor

from .common import conv1x1

DILATIONS = {7: 2, 11: 2, 23: 3, 35: 3, 41: 3, 53: 3, 65: 3}


def lska(module, x: Tensor, kernel_size: int = 7) -> Tensor:
    d = DILATIONS[kernel_size]
    near, far = 2 * d - 1, kernel_size // d
    y = _strip(module.conv0h, x, near, 1, -1)
    y = _strip(module.conv0v, y, near, 1, -2)
    y = _strip(module.conv_spatial_h, y, far, d, -1)
    y = _strip(module.conv_spatial_v, y, far, d, -2)
    return x * conv1x1(module.conv1, y)


def _strip(layer, x: Tensor, taps: int, step: int, axis: int) -> Tensor:
    """A depthwise strip along an axis, zero outside."""
    weight = layer.weight.flatten(1)
    assert weight.shape[1] == taps
    size = x.shape[axis]
    y = layer.bias.view(1, -1, 1, 1).expand_as(x).clone()
    for at in range(size):
        for tap in range(taps):
            seen = at + (tap - taps // 2) * step
            if 0 <= seen < size:
                y.select(axis, at).add_(weight[:, tap].view(1, -1, 1) * x.select(axis, seen))
    return y
