"""Layers that several references use, on numpy arrays or tensors in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def conv1x1(layer, x: Tensor) -> Tensor:
    """A 1x1 convolution as a matrix product over channels, x (B, C, H, W)."""
    y = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], x)
    return y if layer.bias is None else y + layer.bias.view(1, -1, 1, 1)


def depthwise(layer, x: Tensor) -> Tensor:
    """A depthwise convolution by loops over the kernel, x (B, C, H, W)."""
    (kh, kw), (sh, sw), (ph, pw) = layer.kernel_size, layer.stride, layer.padding
    b, c, h, w = x.shape
    padded = x.new_zeros(b, c, h + 2 * ph, w + 2 * pw)
    padded[:, :, ph : ph + h, pw : pw + w] = x
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    y = x.new_zeros(b, c, oh, ow)
    for i in range(kh):
        for j in range(kw):
            y = (
                y
                + layer.weight[:, 0, i, j].view(1, -1, 1, 1) * padded[:, :, i : i + oh * sh : sh, j : j + ow * sw : sw]
            )
    return y if layer.bias is None else y + layer.bias.view(1, -1, 1, 1)


def conv2d(layer, x: Tensor) -> Tensor:
    """A convolution of stride 1 and an odd kernel by loops over the kernel and the groups, x (B, C, H, W)."""
    weight, (kh, kw), (dh, dw) = layer.weight, layer.kernel_size, layer.dilation
    (b, c, h, w), groups = x.shape, layer.groups
    top, left = kh // 2 * dh, kw // 2 * dw
    padded = x.new_zeros(b, c, h + 2 * top, w + 2 * left)
    padded[:, :, top : top + h, left : left + w] = x
    y = x.new_zeros(b, len(weight), h, w)
    n_in, n_out = c // groups, len(weight) // groups
    for g in range(groups):
        for i in range(kh):
            for j in range(kw):
                seen = padded[:, g * n_in : (g + 1) * n_in, i * dh : i * dh + h, j * dw : j * dw + w]
                kernel = weight[g * n_out : (g + 1) * n_out, :, i, j]
                y[:, g * n_out : (g + 1) * n_out] += torch.einsum("oc,bchw->bohw", kernel, seen)
    return y if layer.bias is None else y + layer.bias.view(1, -1, 1, 1)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def layer_norm(norm, x: Tensor) -> Tensor:
    """LayerNorm over the channels of x (B, C, H, W)."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def batch_norm(norm, x: Tensor) -> Tensor:
    """BatchNorm of x (B, C, H, W) with running statistics."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def bilinear(image: Tensor, y: float | Tensor, x: float | Tensor) -> Tensor:
    """One sample of image (C, H, W) at pixel coordinates; pixels outside are zero."""
    c, h, w = image.shape
    y0, x0 = int(torch.floor(torch.as_tensor(y))), int(torch.floor(torch.as_tensor(x)))
    total = image.new_zeros(c)
    for yi, wy in ((y0, y0 + 1 - y), (y0 + 1, y - y0)):
        for xi, wx in ((x0, x0 + 1 - x), (x0 + 1, x - x0)):
            if 0 <= yi < h and 0 <= xi < w:
                total = total + wy * wx * image[:, yi, xi]
    return total
