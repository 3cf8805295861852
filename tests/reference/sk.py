"""Selective kernels: arXiv:1903.06586, eq. 1-6; loops over paths and channels."""

from __future__ import annotations

import torch
from torch import Tensor

from .common import batch_norm, conv1x1
from .deform_conv import convolution


def sk(module, x: Tensor) -> Tensor:
    """SK in eval mode."""
    paths = [batch_norm(norm, convolution(conv, x)).clamp(min=0) for conv, norm, _ in module.convs]
    shown = sum(paths).mean((2, 3), keepdim=True)
    hidden = batch_norm(module.compress[1], conv1x1(module.compress[0], shown)).clamp(min=0)
    votes = [conv1x1(projection, hidden).exp() for projection in module.projections]
    y = torch.zeros_like(x)
    for path, vote in zip(paths, votes, strict=True):
        for c in range(x.shape[1]):
            y[:, c] += path[:, c] * vote[:, c] / sum(v[:, c] for v in votes)
    return y
