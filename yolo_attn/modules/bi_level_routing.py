"""Bi-level routing attention (BiFormer: Zhu et al., CVPR 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._attention import attend
from ._checks import heads, positive
from ._constants import constant
from ._export import exporting
from ._layout import as_layout, by_pixel
from ._sampling import at_least_float32, without_autocast


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a map, cut into regions whose sizes differ by one at most.

    Region i begins at floor(i size / regions). Where all are equal there is no padding, and nothing to look up; a graph
    that is being exported looks all up, to suit other sizes too.

    Attributes:
        size: Number n of rows or columns.
        regions: Number S of regions; with fewer rows than that, some are empty.
        like: A tensor on the device of what is looked up.
    """

    size: int
    regions: int
    like: Tensor

    @property
    def even(self) -> bool:
        """Whether all regions are equal."""
        return not exporting() and self.size % self.regions == 0

    @property
    def longest(self) -> int:
        """Members m of the largest region."""
        return (self.size + self.regions - 1) // self.regions

    def members(self) -> Tensor:
        """Members (S, m) of the regions, the last one again where there are fewer."""
        return _members(self.like, self.size, self.regions, self.longest)[0]

    def real(self) -> Tensor:
        """Which members (S, m) are real."""
        return _members(self.like, self.size, self.regions, self.longest)[1]

    def places(self) -> Tensor:
        """Where each member (n) is among all S m."""
        return _places(self.like, self.size, self.regions, self.longest)

    def means(self) -> Tensor:
        """The matrix (S, n) that averages over regions; rows of empty ones are zero."""
        return _means(self.like, self.size, self.regions)


def _starts(region: Tensor, size: int, regions: int) -> Tensor:
    """First member of these regions."""
    return region * size // regions


def _region(like: Tensor, size: int, regions: int) -> Tensor:
    """Region (n) of each member."""
    return ((torch.arange(size, device=like.device) + 1) * regions - 1) // size


@constant
def _members(like: Tensor, size: int, regions: int, longest: int) -> tuple[Tensor, ...]:
    region = torch.arange(regions, device=like.device)
    member = _starts(region, size, regions)[:, None] + torch.arange(longest, device=like.device)
    return member.clamp(max=size - 1), member < _starts(region + 1, size, regions)[:, None]


@constant
def _places(like: Tensor, size: int, regions: int, longest: int) -> Tensor:
    region = _region(like, size, regions)
    return region * longest + torch.arange(size, device=like.device) - _starts(region, size, regions)


@constant
def _means(like: Tensor, size: int, regions: int) -> Tensor:
    inside = (torch.arange(regions, device=like.device)[:, None] == _region(like, size, regions)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True).clamp(min=1)


@constant
def _firsts(like: Tensor, batch: int, regions: int) -> Tensor:
    """Number (B, 1, 1) of the first of an image's regions among those of all images."""
    return torch.arange(batch, device=like.device)[:, None, None] * regions


@register(
    paper="arXiv:2303.08810",
    year=2023,
    kind="attention",
    known_as=("BiLevelRoutingAttention", "BiLevelRoutingAttention_nchw", "nchwBRA", "BRA", "BiFormer"),
    tiny=(8, 2, 3, 2),
    licence="MIT",
)
class BiLevelRouting(nn.Module):
    """Bi-level routing attention: every pixel attends to the few regions of the map that suit its own region best.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        n_win: Regions S along each side of the map.
        topk: Regions k that each region attends to.
        side_dwconv: Kernel of the depthwise convolution of the values that is added: local context enhancement.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1. Regions that H and W don't make equal differ by a row or column,
        and with fewer rows or columns than S some are empty; padding and empty regions are never attended to. Memory
        grows with k H W.

    Raises:
        ValueError: If an argument has no meaning, heads don't divide the channels, side_dwconv is even, or topk larger
            than S S.

    References:
        Zhu et al., CVPR 2023, arXiv:2303.08810, eq. 3-8, algorithm 1. The logits' factor is C ** -0.5 with any number
        of heads, as in the official code. Differs: sizes that S doesn't divide, where the official code fails or
        attends to padding; regions are chosen in float32 at least, by the means of the input, whose queries and keys
        are the means of the queries and keys.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        n_win: int = 7,
        topk: int = 4,
        side_dwconv: int = 5,
        head_dim: int | None = None,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, n_win=n_win, topk=topk, side_dwconv=side_dwconv)
        self.num_heads = heads(self, dim, num_heads, head_dim)
        if side_dwconv % 2 == 0:
            raise ValueError(f"BiLevelRouting: side_dwconv must be odd, got {side_dwconv}. Use 3 or 5.")
        if topk > n_win**2:
            raise ValueError(
                f"BiLevelRouting: topk must be at most n_win * n_win, got {topk} with n_win={n_win}. "
                "Choose fewer, or more regions."
            )
        self.n_win, self.topk, self.scale = n_win, topk, dim**-0.5
        self.qkv_linear = nn.Conv2d(dim, 3 * dim, 1)
        self.lepe = nn.Conv2d(dim, dim, side_dwconv, 1, side_dwconv // 2, groups=dim)
        self.output_linear = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (Axis(n, self.n_win, at_least_float32(x[:0])) for n in x.shape[2:])
        chosen = self._route(x, rows, columns)  # B SS k
        qkv = by_pixel(self.qkv_linear(x))
        q, kv = self._split(qkv, rows, columns).split([x.shape[1], 2 * x.shape[1]], 3)
        among_all = chosen + _firsts(x, x.shape[0], self.n_win**2)
        kv = kv.flatten(0, 1).index_select(0, among_all.flatten())  # (B SS k) m 2C
        k, v = rearrange(kv, "(g k) m (t n c) -> t g n (k m) c", k=self.topk, t=2, n=self.num_heads)
        q = rearrange(q, "b s m (n c) -> (b s) n m c", n=self.num_heads)
        real = None if rows.even and columns.even else _real(rows, columns)[chosen].flatten(0, 1).flatten(1)
        out = attend(q, k, v, None if real is None else real[:, None, None], scale=self.scale)
        out = as_layout(self._join(rearrange(out, "g n m c -> g m (n c)"), rows, columns), x)
        return self.output_linear(out + self.lepe(as_layout(qkv[:, 2 * x.shape[1] :], x)))

    def _route(self, x: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """The k regions (B, SS, k) that each region attends to, eq. 3-5."""
        with without_autocast(x):
            weight, bias = (at_least_float32(p.detach()) for p in self.qkv_linear.parameters())
            x = at_least_float32(x.detach())
            means = rows.means() @ (x @ columns.means().t())  # B C S S
            q, k, _ = F.conv2d(means, weight, bias).flatten(2).chunk(3, 1)
            affinity = q.transpose(1, 2) @ k  # B SS SS
            if not (rows.even and columns.even):
                affinity = affinity.masked_fill(~_real(rows, columns).any(1), float("-inf"))
            return affinity.topk(self.topk, -1).indices

    def _split(self, x: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """A map (B, c, H, W) by regions (B, SS, m, c); padding repeats a pixel."""
        x = x.permute(0, 2, 3, 1)
        x = x if rows.even else x.index_select(1, rows.members().flatten())
        x = x if columns.even else x.index_select(2, columns.members().flatten())
        return rearrange(x, "b (s y) (t x) c -> b (s t) (y x) c", s=self.n_win, t=self.n_win)

    def _join(self, x: Tensor, rows: Axis, columns: Axis) -> Tensor:
        """The inverse: regions ((B SS), m, c) as a map (B, c, H, W) without padding."""
        x = rearrange(
            x, "(b s t) (y x) c -> b (s y) (t x) c", s=self.n_win, t=self.n_win, y=rows.longest, x=columns.longest
        )
        x = x if rows.even else x.index_select(1, rows.places())
        x = x if columns.even else x.index_select(2, columns.places())
        return x.permute(0, 3, 1, 2)


def _real(rows: Axis, columns: Axis) -> Tensor:
    """Which members of the regions (SS, m) are pixels."""
    y, x = rows.real(), columns.real()
    return (y[:, None, :, None] & x[None, :, None, :]).flatten(2).flatten(0, 1)
