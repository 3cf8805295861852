"""TripletAttention: arXiv:2010.03045, eq. 4-5: three rotated maps, each with its Z-pool, convolution and gate."""

import torch
from torch import Tensor

from .common import batch_norm, conv2d, sigmoid


def triplet_attention(module, x: Tensor) -> Tensor:
    def gated(gate, rotated: Tensor) -> Tensor:
        z = torch.stack([rotated.sort(1).values[:, -1], rotated.sum(1) / rotated.shape[1]], 1)
        return rotated * sigmoid(batch_norm(gate.bn, conv2d(gate.conv, z)))

    branches = [gated(module.cw, x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)]  # B H C W
    branches.append(gated(module.hc, x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1))  # B W H C
    if module.hw is not None:
        branches.append(gated(module.hw, x))
    return torch.stack(branches).sum(0) / len(branches)
