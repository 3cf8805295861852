"""Inter-frame attention: the deformed window sampled point by point, once for correlation and once for aggregation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def published(module: Any, x: Tensor) -> Tensor:
    """SIFA of frames (N, C, H, W), inside `yolo_attn.clips` (arXiv:2206.06931)."""
    pairs = module.neighbours(x)
    if pairs is None:
        return x
    later, earlier, time = pairs
    frame, before = x[later], x[earlier]
    offset = module.conv_offset(torch.sigmoid(frame - before) * frame + frame)
    weight = module.def_cor.weight[:, time.clamp(max=module.def_cor.weight.shape[1] - 1)].flatten(2)  # C N KK
    points = module.kernel_size**2
    correlation = torch.stack(
        [
            (weight[:, :, i].T[:, :, None, None] * before * _sampled(module, frame, offset, i)).sum(1)
            for i in range(points)
        ],
        1,
    )
    gathered = torch.zeros_like(frame)
    for i in range(points):
        gathered = gathered + correlation[:, i : i + 1] * _sampled(module, frame, offset, i)
    return x.index_add(0, earlier, module.scale(gathered).to(x.dtype))


def _sampled(module: Any, frame: Tensor, offset: Tensor, i: int) -> Tensor:
    """Point i of every pixel's window, (N, C, H, W)."""
    h, w = frame.shape[2:]
    k, d = module.kernel_size, module.dilation
    padding = (d * (k - 1) + 1) // 2
    y = torch.arange(h, device=frame.device)[:, None] - padding + i // k * d + offset[:, 2 * i]
    x = torch.arange(w, device=frame.device) - padding + i % k * d + offset[:, 2 * i + 1]
    grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], -1)
    return F.grid_sample(frame, grid, "bilinear", "zeros", align_corners=False)
