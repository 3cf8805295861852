"""Normalisations that more than one mechanism needs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LenientBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that one image of one pixel in training mode, as behind a global pooling, doesn't stop.

    One value per channel has no variance, and `nn.BatchNorm2d` raises there: on the last batch of an epoch, or while
    older Ultralytics measure the strides of a model. Such a batch is normalised by the running statistics, which it
    leaves as they are. Otherwise, and in its state_dict, this is `nn.BatchNorm2d`.

    Shape:
        Input and output (B, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)
