"""Gaussian Context Transformer (Ruan et al., CVPR 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import boolean, number, positive

LEAST, RANGE = 1.0, 3.0  # of a learned standard deviation: beta and alpha of the paper


@register(
    paper="CVPR 2021, Gaussian Context Transformer",
    year=2021,
    kind="channel gate",
    known_as=(
        "GCA",
        "GaussianAttention",
        "GaussianContextTransformer",
        "GCT_B0",
        "GCT_B1",
        "GCT_Gaussian",
        "GaussianGCT",
    ),
    tiny=(8, 2.0, True),
)
class GaussianContext(nn.Module):
    """Gaussian context: a channel is damped the more, the further its average is from those of the other channels.

    Two papers have a GCT: this one is GaussianContext, the gated channel transformation is GCT.

    Args:
        dim: Number of channels C.
        c: Standard deviation of the Gaussian; where it is learned, that of the start, between 1 and 4.
        learned: Whether c is learned, between 1 and 4 (the paper's GCT-B1), or fixed, without any parameter (GCT-B0).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not positive, or c no number from 0.1 to 10, or from 1.01 to 3.99 where it is learned.

    References:
        Ruan et al., CVPR 2021, Gaussian Context Transformer, section 3. Differs: a learned c starts at the value that
        is given, 2 as if fixed, and not in the middle of its range, 2.5; 1e-5 is added to the variance of the averages,
        where the paper adds a small number to their deviation; averages, norms and the Gaussian are in float32 at
        least.
    """

    no_weight_decay = ("theta",)

    def __init__(self, dim: int, c: float = 2.0, learned: bool = False) -> None:
        super().__init__()
        positive(self, dim=dim)
        boolean(self, learned=learned)
        if learned:
            number(self, low=LEAST + 0.01, high=LEAST + RANGE - 0.01, c=c)
        else:
            number(self, low=0.1, high=10, c=c)
        self.dim, self.c = dim, c
        share = (c - LEAST) / RANGE
        self.theta = nn.Parameter(torch.tensor([math.log(share / (1 - share))])) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        context = x.mean((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))  # B C
        context = F.layer_norm(context, (self.dim,))
        c = self.c if self.theta is None else LEAST + RANGE * self.theta.to(context.dtype).sigmoid()
        gate = torch.exp(-0.5 * (context / c).square())
        return x * gate.to(x.dtype)[:, :, None, None]
