"""Selective kernels: TeodorPoncu/selective-kernel-conv."""

from __future__ import annotations

from torch import nn

from yolo_attn.modules import SK

from .ours import Ours


def selective_conv(in_channels: int, out_channels: int, groups: int, ratio: int = 16, paths: int = 2) -> SK:
    module = SK(out_channels, paths, num_groups=groups, reduction=ratio)
    if in_channels != out_channels:  # a row keeps its channels
        for i, (conv, *_) in enumerate(module.convs):
            step = conv.dilation
            module.convs[i][0] = nn.Conv2d(in_channels, out_channels, 3, 1, step, step, groups)
    return module


TABLE = {"SK.SelectiveConv": Ours(selective_conv)}
