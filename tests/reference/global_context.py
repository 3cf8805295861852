"""GC block: arXiv:1904.11492: context modelling, transform and fusion, image by image."""

import torch
from torch import Tensor

from .common import conv1x1


def global_context(module, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for b, image in enumerate(x):
        logits = (module.conv_mask.weight.view(-1, 1, 1) * image).sum(0)
        weights = (logits - logits.max()).exp()
        context = sum(
            weights[i, j] / weights.sum() * image[:, i, j] for i in range(x.shape[2]) for j in range(x.shape[3])
        )
        y = image
        if module.channel_mul_conv is not None:
            y = y / (1 + (-_transform(module.channel_mul_conv, context)).exp())
        if module.channel_add_conv is not None:
            y = y + _transform(module.channel_add_conv, context)
        out[b] = y
    return out


def _transform(layers, context: Tensor) -> Tensor:
    first, norm, _, last = layers
    h = conv1x1(first, context.view(1, -1, 1, 1)).flatten()
    h = (h - h.mean()) / (((h - h.mean()) ** 2).mean() + norm.eps).sqrt() * norm.weight.flatten() + norm.bias.flatten()
    return conv1x1(last, h.clamp(min=0).view(1, -1, 1, 1))[0]
