"""CPCA: arXiv:2306.05196, eq. 1-4, with the official code's convolutions in front and behind."""

from torch import Tensor

from .common import conv1x1, depthwise, gelu


def cpca(module, x: Tensor) -> Tensor:
    x = gelu(conv1x1(module.conv, x))
    flat = x.flatten(2)
    x = x * (_excited(module.ca, flat.sum(2) / flat.shape[2]) + _excited(module.ca, flat.sort(2).values[:, :, -1]))
    branches = [depthwise(module.dconv5_5, x)]
    for k in (7, 11, 21):
        across, down = (getattr(module, f"dconv{size}") for size in (f"1_{k}", f"{k}_1"))
        branches.append(depthwise(down, depthwise(across, branches[0])))
    return conv1x1(module.conv, conv1x1(module.conv, sum(branches)) * x)


def _excited(gate, pooled: Tensor) -> Tensor:
    hidden = conv1x1(gate.fc1, pooled[:, :, None, None]).clamp(min=0)
    return 1 / (1 + (-conv1x1(gate.fc2, hidden)).exp())
