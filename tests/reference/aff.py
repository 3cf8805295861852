"""AFF: arXiv:2009.14082, eq. 1-2 (MS-CAM), eq. 3 (AFF, times 2 as in the official code), eq. 4 (iAFF)."""

from torch import Tensor, nn

from .common import batch_norm, conv1x1


def _inputs(module, x: Tensor, y: Tensor) -> list[Tensor]:
    return [t if isinstance(p, nn.Identity) else conv1x1(p, t) for p, t in zip(module.proj, (x, y), strict=True)]


def _weight(local, pooled, x: Tensor) -> Tensor:
    def bottleneck(layers, z: Tensor) -> Tensor:
        conv1, norm1, _, conv2, norm2 = layers
        return batch_norm(norm2, conv1x1(conv2, batch_norm(norm1, conv1x1(conv1, z)).clamp(min=0)))

    total = bottleneck(local, x) + bottleneck(pooled[1:], x.mean((2, 3), keepdim=True))
    return 1 / (1 + (-total).exp())


def ms_cam(module, x: Tensor) -> Tensor:
    return x * _weight(module.local_att, module.global_att, x)


def daf(module, x: Tensor, y: Tensor) -> Tensor:
    x, y = _inputs(module, x, y)
    return x + y


def aff(module, x: Tensor, y: Tensor) -> Tensor:
    x, y = _inputs(module, x, y)
    m = _weight(module.local_att, module.global_att, x + y)
    return 2 * x * m + 2 * y * (1 - m)


def iaff(module, x: Tensor, y: Tensor) -> Tensor:
    x, y = _inputs(module, x, y)
    m = _weight(module.local_att, module.global_att, x + y)
    z = x * m + y * (1 - m)
    m = _weight(module.local_att2, module.global_att2 if module.own_global else module.global_att, z)
    return x * m + y * (1 - m)
