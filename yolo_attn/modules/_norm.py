"""Normalisations that more than one mechanism needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """norm(x), and no error where training has one value per channel.

    One value has no variance, and `nn.BatchNorm2d` raises: behind a global pooling on a last batch of one image, or
    while older Ultralytics measure the strides of a model. Such an input is normalised by the running statistics, which
    it leaves as they are.

    Args:
        norm: The layer, a plain one for Ultralytics and checkpoints.
        x: Maps (B, C, H, W).
    """
    if norm.training and _has_no_variance(x):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    return norm(x)


def _has_no_variance(x: Tensor) -> bool:
    return x.shape[0] * x.shape[2] * x.shape[3] == 1


def group_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """norm(x), and no error where there is one value in a group: that is zero, times the weight, plus the bias.

    Args:
        norm: The layer.
        x: Maps or strips (B, C, ...).
    """
    return torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


class LenientSequential(nn.Sequential):
    """A Sequential whose BatchNorms are not stopped by one value per channel in training mode: see batch_norm.

    Shape:
        Input (B, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = batch_norm(layer, x) if isinstance(layer, nn.BatchNorm2d) else layer(x)
        return x


class _Lenient(nn.BatchNorm2d):
    """A BatchNorm of others that is as in eval mode for one value per channel, with the activation that it may hold."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not _has_no_variance(x):
            return super().forward(x)
        self.eval()
        try:
            return super().forward(x)
        finally:
            self.train()


def lenient(module: nn.Module) -> nn.Module:
    """A module of others, where BatchNorms are not stopped by one value per channel in training mode: see batch_norm.

    It can't be pickled.
    """
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.__class__ = type(type(each).__name__, (_Lenient, type(each)), {})
    return module
