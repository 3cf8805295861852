"""Polarized self-attention, parallel and sequential (Liu et al., Neurocomputing 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._attention import pooled
from ._checks import positive

PAPER = "arXiv:2107.00782"
BOTH = ("PolarizedSelfAttention", "PolarizedAttention", "PSA")


@register(
    paper=PAPER,
    year=2022,
    kind="channel and spatial gate",
    known_as=("ParallelPolarizedSelfAttention", *BOTH, "PSA_p", "PSAp"),
    licence="none",
)
class PolarizedParallel(nn.Module):
    """Polarized self-attention, parallel: the sum of a gate per channel and a gate per pixel, both from attention.

    The paper's PSA_p. `PSA` is another module, Ultralytics' own.

    Args:
        dim: Number of channels C; the branches have max(C // 2, 1).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer.

    References:
        Liu et al., Neurocomputing 2022, arXiv:2107.00782, eq. 1-3, fig. 2: the layer normalisation in front of the
        channels' sigmoid is the figure's. Differs: where the official code normalises the map of the spatial branch,
        or its values, by a softmax over the pixels, eq. 2 is followed: one over the channels of the pooled queries.
        The official parallel form has no layer normalisation, its sequential one a further hidden layer.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        hidden = max(dim // 2, 1)
        self.conv_q_right = nn.Conv2d(dim, 1, 1, bias=False)
        self.conv_v_right = nn.Conv2d(dim, hidden, 1, bias=False)
        self.conv_up, self.ln = nn.Conv2d(hidden, dim, 1, bias=False), nn.LayerNorm(dim)
        self.conv_q_left = nn.Conv2d(dim, hidden, 1, bias=False)
        self.conv_v_left = nn.Conv2d(dim, hidden, 1, bias=False)

    def channel_gate(self, x: Tensor) -> Tensor:
        """Gates (B, C, 1, 1) of a map (B, C, H, W), eq. 1."""
        context = pooled(self.conv_v_right(x).flatten(2), self.conv_q_right(x).flatten(2))  # B C/2 1
        return self.ln(self.conv_up(context[..., None]).flatten(1)).sigmoid()[..., None, None].to(x.dtype)

    def spatial_gate(self, x: Tensor) -> Tensor:
        """Gates (B, 1, H, W) of a map (B, C, H, W), eq. 2."""
        query = self.conv_q_left(x.mean((2, 3), keepdim=True)).flatten(1).softmax(1)  # the mean of the queries, B C/2
        value = self.conv_v_left(x).flatten(2)
        return (query[:, None].to(value.dtype) @ value).sigmoid().unflatten(2, x.shape[2:]).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.channel_gate(x) + self.spatial_gate(x))


@register(
    paper=PAPER,
    year=2022,
    kind="channel and spatial gate",
    known_as=("SequentialPolarizedSelfAttention", *BOTH, "PSA_s", "PSAs"),
    licence="none",
)
class PolarizedSequential(PolarizedParallel):
    """Polarized self-attention, sequential: a gate per channel, and of its result a gate per pixel.

    The paper's PSA_s. `PSA` is another module, Ultralytics' own.

    Args:
        dim: Number of channels C; the branches have max(C // 2, 1).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer.

    References:
        Liu et al., Neurocomputing 2022, arXiv:2107.00782, eq. 1, 2 and 4, fig. 2. Differs: as PolarizedParallel.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.channel_gate(x)
        return x * self.spatial_gate(x)
