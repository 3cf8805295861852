"""Gated Channel Transformation (Yang et al., CVPR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, number, one_of, positive
from ._sampling import at_least_float32


@register(
    paper="arXiv:1909.11519",
    year=2020,
    kind="channel gate",
    known_as=("GatedChannelTransform", "GatedChannelTransformation"),
    identity=True,
    licence="none",
)
class GCT(nn.Module):
    """Gated Channel Transformation: channels compete through the norms of their maps. The identity at its start.

    Args:
        dim: Number of channels C.
        epsilon: Added under the square roots (l2) or to the mean (l1), for numerical stability.
        mode: "l2" or "l1", the norm over a channel's map and over the channels.
        after_relu: In mode l1, the input is known to be non-negative, so that no absolute value is taken.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or epsilon is not positive, or the mode is unknown.

    References:
        Yang et al., CVPR 2020, arXiv:1909.11519, eq. 2-6. Differs: sums over a map are in float32 at least, because
        squares of half-precision activations overflow.
    """

    no_weight_decay = ("alpha", "gamma", "beta")

    def __init__(self, dim: int, epsilon: float = 1e-5, mode: str = "l2", after_relu: bool = False) -> None:
        super().__init__()
        positive(self, dim=dim)
        one_of(self, "mode", mode, ("l2", "l1"))
        number(self, low=1e-12, epsilon=epsilon)
        boolean(self, after_relu=after_relu)
        self.epsilon, self.mode, self.after_relu = epsilon, mode, after_relu
        self.alpha = nn.Parameter(torch.ones(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        if self.mode == "l2":
            embedding = (wide.pow(2).sum((2, 3), keepdim=True) + self.epsilon).sqrt() * self.alpha  # eq. 2
            norm = self.gamma / (embedding.pow(2).mean(1, keepdim=True) + self.epsilon).sqrt()  # eq. 4
        else:
            positive_x = wide if self.after_relu else wide.abs()
            embedding = positive_x.sum((2, 3), keepdim=True) * self.alpha
            norm = self.gamma / (embedding.abs().mean(1, keepdim=True) + self.epsilon)
        gate = 1 + torch.tanh(embedding * norm + self.beta)  # eq. 5
        return x * gate.to(x.dtype)
