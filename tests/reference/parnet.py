"""ParNet's block: arXiv:2110.07641, fig. 2: a 1x1 and a 3x3 branch, and the skip-squeeze-excitation."""

from torch import Tensor

from .common import batch_norm, conv1x1
from .deform_conv import convolution, silu


def parnet(module, x: Tensor) -> Tensor:
    skip = batch_norm(module.rbr_identity, x)
    squeezed = skip.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
    branches = [
        batch_norm(module.rbr_dense.bn, convolution(module.rbr_dense.conv, x)),
        batch_norm(module.rbr_1x1.bn, conv1x1(module.rbr_1x1.conv, x)),
        skip / (1 + (-conv1x1(module.se, squeezed)).exp()),
    ]
    return silu(sum(branches))
