"""Frequency Channel Attention (Qin et al., ICCV 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import largest_divisor, one_of, positive
from ._constants import constant

MOST = 16  # frequencies by default
SIDE = 7  # of the map whose frequencies are numbered
FREQUENCIES = {  # (u, v) along height and width: best alone, lowest and worst alone of the 49, as the paper ranks them
    "top": "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22 46 63 33 53 55 21 61 52 54 32 31 41 23 20 65 13",
    "low": "00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05 14 23 32 41 50 06 15 24 33 42 51 60 16 25 34 43",
    "bot": "66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51 64 13 65 20 23 41 31 32 54 52 61 21 55 53 33 63",
}
METHODS = tuple(f"{kind}{2**i}" for kind in FREQUENCIES for i in range(6))


def _cosines(like: Tensor, n: int, frequencies: tuple[int, ...]) -> Tensor:
    """Rows of the DCT of n pixels, (frequencies, n), scaled so that n pixels weigh as much as 7 do."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    pixels = torch.arange(n, dtype=dtype, device=like.device)
    wanted = torch.tensor(frequencies, dtype=dtype, device=like.device)[:, None]
    u = torch.minimum(wanted, pixels[-1:])  # n pixels have no frequency beyond n - 1
    scale = math.sqrt(SIDE) / n * torch.where(u > 0, math.sqrt(2), 1.0)
    return scale * torch.cos(math.pi / n * u * (pixels + 0.5))


@constant
def dct_bases(like: Tensor, h: int, w: int, frequencies: tuple[tuple[int, int], ...]) -> Tensor:
    """The bases of a map of h x w pixels, one of length h w for each (u, v): (frequencies, h w)."""
    rows, columns = (
        _cosines(like, n, numbers) for n, numbers in zip((h, w), zip(*frequencies, strict=True), strict=True)
    )
    return (rows[:, :, None] * columns[:, None]).flatten(1).to(like.dtype)


@register(
    paper="arXiv:2012.11929",
    year=2021,
    kind="channel gate",
    known_as=("MultiSpectralAttentionLayer", "FcaLayer", "FCAttention", "FcaAttention", "FrequencyChannelAttention"),
    tiny=(8, 2, "top4"),
    licence="MIT",
)
class FcaNet(nn.Module):
    """Frequency channel attention: a gate per channel; each group of channels is pooled by another cosine (2D DCT).

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        freq_sel_method: "top", "low" or "bot" and the number of frequencies, 1, 2, 4, 8, 16 or 32, which must divide
            dim. By default "top16", or the first ones of these, as many as divide dim.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive, the method is unknown, or its number doesn't divide dim.

    References:
        Qin et al., ICCV 2021, arXiv:2012.11929, section 3. Differs: the official code pools every map to a fixed
        size, 7 x 7 for its last stage, and takes the frequencies of that size; here they are those of the map's own
        size, times 7 / sqrt(H W), which is the same at 7 x 7, and with frequency (0, 0) everywhere. The multiples of
        them on the larger maps of earlier stages are not taken. A side of fewer than 7 pixels takes its highest
        frequency in place of those that it doesn't have: one pixel is pooled to itself.
    """

    def __init__(self, dim: int, reduction: int = 16, freq_sel_method: str | None = None) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        if freq_sel_method is None:
            kind, count = "top", largest_divisor(dim, MOST)
        else:
            one_of(self, "freq_sel_method", freq_sel_method, METHODS)
            kind, count = freq_sel_method[:3], int(freq_sel_method[3:])
            if dim % count:
                fitting = [each for each in METHODS if each.startswith(kind) and dim % int(each[3:]) == 0]
                raise ValueError(
                    f"FcaNet: the number of freq_sel_method must divide dim, got {freq_sel_method} and dim={dim}. "
                    f"Choose one of {', '.join(fitting)}."
                )
        self.frequencies = tuple((int(uv[0]), int(uv[1])) for uv in FREQUENCIES[kind].split()[:count])
        self.groups = count, dim // count
        hidden = max(dim // reduction, 1)
        self.fc = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        bases = dct_bases(x, *x.shape[2:], self.frequencies).unsqueeze(-1)  # n N 1
        pooled = (x.unflatten(1, self.groups).flatten(3) @ bases).flatten(1)  # B C
        return x * self.fc(pooled).sigmoid()[:, :, None, None]
