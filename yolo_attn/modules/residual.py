"""A module beside the path that a pretrained model knows, switched in by a gate that starts at zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..registry import get, register
from ._checks import positive


@register(paper="arXiv:2003.04887", year=2021, kind="wrapper", channels="wrap", tiny=(8, "GCT"), identity=True)
class Residual(nn.Module):
    """y = x + gamma * f(x), gamma zero at the start: inserted into a pretrained model, it changes nothing at step 0.

    In a YAML the arguments are the name of a registered module and the arguments of its own row,
    `[-1, 1, Residual, [DAttention, {num_heads: 4}]]`. A module that fuses several inputs stands beside the layer that
    they met in, `[[11, 10, 6], 1, Residual, [iAFF, 256]]`: the first input is x, the others are fused.

    Args:
        dim: Number of channels C of x.
        fn: Name of the registered module f.
        args: All constructor arguments of f, its channels first; (dim,) by default.

    Shape:
        Input and output (B, C, H, W); for a fusing f a list of such maps, x first.

    Raises:
        ValueError: If dim is not positive, there is no module of that name, or f changes height or width.

    References:
        Bachlechner et al., UAI 2021, arXiv:2003.04887 (ReZero), eq. 3; gamma per channel as in LayerScale,
        arXiv:2103.17239. Differs: a fused map of other width is projected to C by a 1x1 convolution.
    """

    no_weight_decay = ("gamma",)

    def __init__(self, dim: int, fn: str, args: Sequence[Any] = ()) -> None:
        super().__init__()
        positive(self, dim=dim)
        spec = get(fn, load=False)  # a checkpoint can call this constructor, also under restricted loading
        args = list(args) or [dim]
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.fn = spec.cls(*args)
        self.proj = nn.Identity() if args[0] == dim else nn.Conv2d(args[0], dim, 1)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        x, inputs = (x, x) if isinstance(x, Tensor) else (x[0], x[1:])
        y = self.fn(inputs)
        if not torch.jit.is_tracing() and y.shape[-2:] != x.shape[-2:]:  # broadcasting would hide a 1x1 map
            raise ValueError(
                f"Residual: {type(self.fn).__name__} must keep height and width, got {tuple(x.shape[-2:])} in and "
                f"{tuple(y.shape[-2:])} out. Give it stride 1, or a row without Residual."
            )
        return x + self.gamma.view(1, -1, 1, 1) * self.proj(y)
