"""Dual attention: of positions and of channels (DANet: Fu et al., CVPR 2019)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..registry import register
from ._attention import attend
from ._checks import boolean, positive
from ._layout import as_layout, by_pixel
from ._sampling import at_least_float32, without_autocast

PAPER = "arXiv:1809.02983"
LEAST = -70.0  # logit below which no weight counts in float32; smaller ones would be denormal numbers, and slow
BOTH = ("DANet", "DAModule", "DualAttention")


@register(
    paper=PAPER,
    year=2019,
    kind="attention",
    known_as=("PAM", "PAM_Module", "PositionAttentionModule", *BOTH),
    identity=True,
    licence="MIT",
)
class PositionAttention(nn.Module):
    """Position attention of DANet: a weighted mean over all pixels is added to each. The identity at its start.

    Args:
        dim: Number of channels C.
        reduction: Queries and keys have max(dim // reduction, 1) channels.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not a positive integer.

    References:
        Fu et al., CVPR 2019, arXiv:1809.02983, eq. 1-2, fig. 3a. Differs: nothing; queries and keys have fewer channels
        and the values a bias, as in the official code.
    """

    no_weight_decay = ("gamma",)

    def __init__(self, dim: int, reduction: int = 8) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        hidden = max(dim // reduction, 1)
        self.query_conv, self.key_conv = nn.Conv2d(dim, hidden, 1), nn.Conv2d(dim, hidden, 1)
        self.value_conv = nn.Conv2d(dim, dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.attended(x)
        return x + self.gamma.to(out.dtype) * out

    def attended(self, x: Tensor) -> Tensor:
        """The weighted means (B, C, H, W)."""
        layers = self.query_conv, self.key_conv, self.value_conv
        q, k, v = (rearrange(by_pixel(layer(x)), "b c h w -> b 1 (h w) c") for layer in layers)
        return as_layout(rearrange(attend(q, k, v, scale=1.0), "b 1 (h w) c -> b c h w", h=x.shape[2]), x)


@register(
    paper=PAPER,
    year=2019,
    kind="attention",
    known_as=("CAM_Module", "ChannelAttentionModule", *BOTH),
    identity=True,
    licence="MIT",
)
class ChannelSelfAttention(nn.Module):
    """Channel attention of DANet: a weighted mean over all channels is added to each. The identity at its start.

    Args:
        dim: Number of channels C.
        reverse: Whether those channels weigh most whose product with a channel is smallest, as in the official code;
            False for eq. 3 as it stands, by which each channel mostly sees itself.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer, or reverse not a boolean.

    References:
        Fu et al., CVPR 2019, arXiv:1809.02983, eq. 3-4, fig. 3b. Differs: the official code's softmax of the largest
        product less each product is not the paper's equation but that of the opposite sign; it is the default here.
        Products over a map are in float32 at least.
    """

    no_weight_decay = ("gamma",)

    def __init__(self, dim: int, reverse: bool = True) -> None:
        super().__init__()
        positive(self, dim=dim)
        boolean(self, reverse=reverse)
        self.reverse = reverse
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            wide = at_least_float32(x).flatten(2)
            out = self.weights(wide) @ wide
        out = out.to(x.dtype).unflatten(2, x.shape[2:])
        return x + self.gamma.to(x.dtype) * as_layout(out, x)

    def weights(self, x: Tensor) -> Tensor:
        """How much each channel counts for each, (B, C, C), of maps (B, C, N) in float32 at least."""
        energy = x @ x.transpose(1, 2)
        energy = -energy if self.reverse else energy
        below = energy - energy.amax(2, keepdim=True)  # without it OpenVINO 2026.4 fuses the products, to other numbers
        return below.clamp(min=LEAST).softmax(2)
