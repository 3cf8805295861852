"""Gates per channel: Squeeze-and-Excitation (arXiv:1709.01507) and Gated Channel Transformation (arXiv:1909.11519)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def published_se(module: Any, x: Tensor) -> Tensor:
    """SE of a map (B, C, H, W), its gate by two linear layers."""
    b, c = x.shape[:2]
    squeezed = F.adaptive_avg_pool2d(x, 1).reshape(b, c)
    hidden = F.relu(F.linear(squeezed, module.fc1.weight.flatten(1), module.fc1.bias))
    gate = torch.sigmoid(F.linear(hidden, module.fc2.weight.flatten(1), module.fc2.bias)).reshape(b, c, 1, 1)
    return x * gate.expand_as(x)


def published_gct(module: Any, x: Tensor) -> Tensor:
    """GCT of a map (B, C, H, W)."""
    if module.mode == "l2":
        embedding = (x.pow(2).sum((2, 3), keepdim=True) + module.epsilon).pow(0.5) * module.alpha
        norm = module.gamma / (embedding.pow(2).mean(1, keepdim=True) + module.epsilon).pow(0.5)
    else:
        embedding = (x if module.after_relu else x.abs()).sum((2, 3), keepdim=True) * module.alpha
        norm = module.gamma / (embedding.abs().mean(1, keepdim=True) + module.epsilon)
    return x * (1.0 + torch.tanh(embedding * norm + module.beta))
