"""Normalisations that more than one mechanism needs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LenientSequential(nn.Sequential):
    """A Sequential whose BatchNorms are not stopped by one value per channel in training mode.

    One value has no variance, and `nn.BatchNorm2d` raises: behind a global pooling on a last batch of one image, or
    while older Ultralytics measure the strides of a model. Such an input is normalised by the running statistics, which
    it leaves as they are. The layers, and so what Ultralytics and checkpoints see, are plain ones.

    Shape:
        Input (B, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, nn.BatchNorm2d) and layer.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
                x = F.batch_norm(
                    x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps
                )
            else:
                x = layer(x)
        return x
