"""Mixed local channel attention (Wan et al., Engineering Applications of Artificial Intelligence 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import number, positive
from ._constants import constant
from .eca import odd_kernel


@constant
def pooling(like: Tensor, size: int, bins: int) -> Tensor:
    """What adaptive average pooling of `size` values to `bins` multiplies with, (bins, size).

    As a product it can be exported for sizes that are not known, and its gradient on a GPU is always the same.
    """
    index = torch.arange(bins, device=like.device).unsqueeze(1)
    start, end = index * size // bins, ((index + 1) * size + bins - 1) // bins
    place = torch.arange(size, device=like.device)
    return ((place >= start) & (place < end)).to(like.dtype) / (end - start).to(like.dtype)


@register(
    paper="Wan et al., Engineering Applications of Artificial Intelligence 123, 2023",
    year=2023,
    kind="channel and spatial gate",
    known_as=("MLCAttention", "MLCA_Attention", "MixedLocalChannelAttention"),
)
class MLCA(nn.Module):
    """Mixed local channel attention: ECA's gate for each of 5x5 patches, mixed with the one of the whole map.

    Args:
        dim: Number of channels C.
        local_size: Patches in each direction. They overlap where the number does not divide height or width, and share
            pixels where the map has fewer.
        gamma, b: The kernel along the channels is |log2(C) + b| / gamma wide, cut to an integer and made odd upwards.
        local_weight: Share of the patches' gate, 0 to 1; the rest is that of the whole map.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or local_size is not a positive integer, local_weight is not from 0 to 1, or gamma or b is no
            number in its range.

    References:
        Wan et al., Engineering Applications of Artificial Intelligence 123, 2023, section 3.2. Differs: pooling and
        unpooling, the official code's adaptive poolings, are products with matrices; to rounding they are the same.
        As in that code, the local convolution runs over the channels of all patches in a row, so that the ends of one
        patch see the next, and the mean of the patches stands for that of the map.
    """

    def __init__(
        self, dim: int, local_size: int = 5, gamma: float = 2, b: float = 1, local_weight: float = 0.5
    ) -> None:
        super().__init__()
        positive(self, dim=dim, local_size=local_size)
        number(self, low=0.1, gamma=gamma)
        number(self, low=-64, high=64, b=b)
        number(self, low=0, high=1, local_weight=local_weight)
        self.local_size, self.local_weight = local_size, local_weight
        kernel = odd_kernel(dim, gamma, b)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, (h, w) = self.local_size, x.shape[2:]
        pooled = pooling(x, h, n) @ (x @ pooling(x, w, n).T)  # B C n n
        row = pooled.flatten(2).transpose(1, 2).flatten(1).unsqueeze(1)  # B 1 nnC
        local = self.conv_local(row).view(x.shape[0], n * n, x.shape[1]).transpose(1, 2).unflatten(2, (n, n)).sigmoid()
        whole = self.conv(pooled.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(3).sigmoid()  # B C 1 1
        gate = self.local_weight * local + (1 - self.local_weight) * whole
        return x * (pooling(x, n, h) @ (gate @ pooling(x, n, w).T))
