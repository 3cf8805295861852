"""Deformable patch embedding as multi-scale deformable attention of one point with weight one (arXiv:2107.14467)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .msda import sum_of_samples


def published(module: Any, x: Tensor) -> Tensor:
    """DePatch of a map (B, c1, H, W)."""
    b, c, h, w = x.shape
    size = [-(-side // module.stride) for side in (h, w)]
    codes = module.offset_predictor(module.act(module.patch_embed(x, size)))  # B h w 4
    k = module.patch_pixel
    points = _points(_boxes(module.box_coder, codes), k).reshape(b, -1, 1, 1, 1, 2)  # every point is a query
    value = x.flatten(2).transpose(1, 2).reshape(b, h * w, 1, c)
    ones = points.new_ones(points.shape[:-1])
    samples = sum_of_samples(value, [(h, w)], points, ones).reshape(b, *size, k * k * c)
    return module.norm(module.output_proj(samples)).permute(0, 3, 1, 2).contiguous()


def _boxes(coder: Any, codes: Tensor) -> Tensor:
    """Boxes (B, h, w, 4) as (x1, y1, x2, y2) of codes."""
    h, w = codes.shape[1:3]
    grid = codes.new_tensor([w, h])
    y, x = ((torch.arange(side, device=codes.device) + 0.5) / side for side in (h, w))
    anchor = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flip(-1)
    move = codes[..., :2] / codes.new_tensor(coder.weights)
    centre = anchor + (move.tanh() if coder.tanh else move) / grid
    size = codes[..., 2:] if coder.wh_bias is None else codes[..., 2:] + coder.wh_bias
    half = torch.relu(torch.tanh(size / codes.new_tensor(coder.size_weights))) / grid
    return torch.cat([centre - half, centre + half], -1).clamp(0, 1)


def _points(boxes: Tensor, k: int) -> Tensor:
    """k x k points (B, h, w, k k, 2) of each box, x outside and y inside."""
    share = torch.linspace(0, 1, k, device=boxes.device)
    x = boxes[..., None, 0] * (1 - share) + boxes[..., None, 2] * share
    y = boxes[..., None, 1] * (1 - share) + boxes[..., None, 3] * share
    x, y = x[..., :, None].expand(*x.shape, k), y[..., None, :].expand(*y.shape, k)
    return torch.stack([x, y], -1).flatten(-3, -2)
