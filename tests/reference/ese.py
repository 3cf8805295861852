"""eSE: arXiv:1911.06667, eSE of VoVNetV2: one layer of full width; a hard sigmoid is ReLU6(x + 3) / 6."""

from torch import Tensor

from .common import conv1x1


def ese(module, x: Tensor) -> Tensor:
    z = conv1x1(module.fc, x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3]))
    return x * ((z + 3).clamp(0, 6) / 6 if module.gate == "hard_sigmoid" else 1 / (1 + (-z).exp()))
