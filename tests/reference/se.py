"""SE: arXiv:1709.01507, eq. 2 (squeeze), eq. 3 (excitation), eq. 4 (scale)."""

from torch import Tensor

from .common import conv1x1


def se(module, x: Tensor) -> Tensor:
    z = x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
    s = 1 / (1 + (-conv1x1(module.fc2, conv1x1(module.fc1, z).clamp(min=0))).exp())
    return s * x
