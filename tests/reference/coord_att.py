"""CoordAtt: arXiv:2103.02907, eq. 4-5 (means), eq. 6 (shared layer), eq. 7-8 (gates), eq. 9 (result), row by row."""

import torch
from torch import Tensor

from .common import batch_norm, conv1x1, sigmoid


def coord_att(module, x: Tensor) -> Tensor:
    def hidden(strip: Tensor) -> Tensor:
        y = batch_norm(module.bn1, conv1x1(module.conv1, strip[:, :, None, None]))
        return y * (y + 3).clamp(0, 6) / 6

    out = torch.zeros_like(x)
    for i in range(x.shape[2]):
        row = sigmoid(conv1x1(module.conv_h, hidden(x[:, :, i].sum(2) / x.shape[3])))[:, :, 0, 0]
        for j in range(x.shape[3]):
            column = sigmoid(conv1x1(module.conv_w, hidden(x[:, :, :, j].sum(2) / x.shape[2])))[:, :, 0, 0]
            out[:, :, i, j] = x[:, :, i, j] * row * column
    return out
