"""Criss-cross attention (CCNet: Huang et al., ICCV 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._attention import LOGITS
from ._blocks import in_blocks
from ._checks import positive
from ._constants import constant
from ._export import exporting
from ._layout import as_layout, by_pixel
from ._sampling import at_least_float32, without_autocast

ON_GPU = 64  # times as many logits as on a CPU


@register(
    paper="arXiv:1811.11721",
    year=2019,
    kind="attention",
    known_as=("CCA", "CrissCrossAttention", "CC_module", "RCCAModule", "RCCA", "CCNet"),
    tiny=(8, 2, 2),
    identity=True,
    licence="MIT",
)
class CrissCross(nn.Module):
    """Criss-cross attention: every pixel attends to its row and its column; twice reaches all. The identity at first.

    Args:
        dim: Number of channels C.
        reduction: Queries and keys have max(dim // reduction, 1) channels.
        recurrence: How often the same layer is applied, R. From 2 on every pixel gets something of every other.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1. Memory grows with H W (H + W) in a graph of an export, and with
        H W otherwise.

    Raises:
        ValueError: If dim, reduction or recurrence is not a positive integer.

    References:
        Huang et al., ICCV 2019, arXiv:1811.11721, eq. 1-2, section 3.3. Differs: gamma, which starts at zero, is the
        official code's; the convolutions around the layers of a segmentation head are left out.
    """

    no_weight_decay = ("gamma",)

    def __init__(self, dim: int, reduction: int = 8, recurrence: int = 2) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction, recurrence=recurrence)
        hidden = max(dim // reduction, 1)
        self.recurrence = recurrence
        self.query_conv, self.key_conv = nn.Conv2d(dim, hidden, 1), nn.Conv2d(dim, hidden, 1)
        self.value_conv = nn.Conv2d(dim, dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            out = self.attended(x)
            x = x + self.gamma.to(out.dtype) * out
        return x

    def attended(self, x: Tensor) -> Tensor:
        """The weighted means (B, C, H, W) of one pass."""
        layers = self.query_conv, self.key_conv, self.value_conv
        q, k, v = (by_pixel(layer(x)).permute(0, 2, 3, 1) for layer in layers)  # B H W c
        return as_layout(_criss_cross(q, k, v).permute(0, 3, 1, 2), x)


def _criss_cross(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of pixels (B, H, W, c) to those of their row and column, a few rows of the map at a time."""
    b, h, w, _ = q.shape
    own = _own(q, h)
    if exporting():  # the number of blocks would be fixed in a graph
        return _rows(q, own, k, v, k, v)
    most = LOGITS if q.is_cpu else ON_GPU * LOGITS
    n = max(most // max(b * w * (h + w), 1), 1)
    if n >= h:
        return _rows(q, own, k, v, k, v)
    return in_blocks(_rows, [(q, 1, n), (own, 0, n), (k, 1, n), (v, 1, n)], (k, v))


@constant
def _own(like: Tensor, h: int) -> Tensor:
    """Which row (h, h) of the map each row is."""
    row = torch.arange(h, device=like.device)
    return row[:, None] == row


def _rows(q: Tensor, own: Tensor, own_k: Tensor, own_v: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The result (B, n, W, C) of n rows.

    Args:
        q: Queries (B, n, W, c).
        own: Which of the map's rows (n, H) they are.
        own_k, own_v: Keys and values (B, n, W, c or C) of the rows.
        k, v: Those of the map (B, H, W, c or C).
    """
    h = k.shape[1]
    with without_autocast(q):  # logits are unscaled products
        wide = at_least_float32(q)
        column = wide.transpose(1, 2) @ at_least_float32(k).permute(0, 2, 3, 1)  # B W n H
        column = column.masked_fill(own, float("-inf")).transpose(1, 2)  # a pixel is in its row already
        along = wide @ at_least_float32(own_k).transpose(2, 3)  # B n W W
        weights = torch.cat([column, along], 3).softmax(3).to(v.dtype)
        out = (weights[..., :h].transpose(1, 2) @ v.transpose(1, 2)).transpose(1, 2)
        return out + weights[..., h:] @ own_v
