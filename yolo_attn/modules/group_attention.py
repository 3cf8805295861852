"""Attention in groups with a dynamic position bias (CrossFormer: Wang et al., ICLR 2022)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ._by_rows import attend_by_rows
from ._checks import boolean, divisible, number, positive
from ._constants import constant
from ._pieces import Pieces

MANY = 24**2  # members of a group, from which on the bias of all their pairs is never whole: 10 MiB for 8 heads


@constant
def _offsets(like: Tensor, h: int, w: int) -> tuple[Tensor, ...]:
    """All offsets (2h-1, 2w-1, 2) in a group, and which of their rows and columns each query has for each key."""
    offsets = [torch.arange(1 - n, n, dtype=like.dtype, device=like.device) for n in (h, w)]
    members = [(n, torch.arange(n, device=like.device)) for n in (h, w)]
    dy, dx = (m[:, None] - m + (n - 1) for n, m in members)  # in a trace, the length of a tensor is a constant
    return torch.stack(torch.meshgrid(*offsets, indexing="ij"), -1), dy[:, None, :, None], dx[None, :, None, :]


def _of_pairs(table: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Biases (heads, y x, ky kx) of a few rows of queries, from those (2h-1, 2w-1, heads) of all offsets."""
    return rearrange(table[dy, dx], "y x ky kx n -> n (y x) (ky kx)")


class DynamicPosBias(nn.Module):
    """Dynamic position bias (DPB): an MLP from a relative position to a bias for each head, for groups of any size.

    Args:
        dim: Four times the hidden width.
        num_heads: Number of attention heads.
        residual: Whether the two inner layers add to their input.

    Shape:
        Input (..., 2): offsets (dy, dx), counted in members of a group. Output (..., num_heads).

    Raises:
        ValueError: If dim is below 4, num_heads not positive, or residual not a boolean.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, section 3.3, fig. 3. Differs: nothing.
    """

    def __init__(self, dim: int, num_heads: int, residual: bool = False) -> None:
        super().__init__()
        positive(self, dim=dim, num_heads=num_heads)
        number(self, low=4, dim=dim)
        boolean(self, residual=residual)
        hidden = dim // 4
        self.residual = residual
        self.pos_proj = nn.Linear(2, hidden)
        self.pos1, self.pos2, self.pos3 = (
            nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, out))
            for out in (hidden, hidden, num_heads)
        )

    def forward(self, offsets: Tensor) -> Tensor:
        pos = self.pos_proj(offsets)
        for layer in (self.pos1, self.pos2):
            pos = pos + layer(pos) if self.residual else layer(pos)
        return self.pos3(pos)

    def pairs(self, group: tuple[int, int]) -> Tensor:
        """The bias (heads, gh gw, gh gw) between all members, queries first, of a group of gh x gw."""
        offsets, dy, dx = _offsets(self.pos_proj.weight, *group)
        return _of_pairs(self(offsets), dy, dx)


class GroupAttention(nn.Module):
    """Self-attention among the members of each group, with a dynamic position bias.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor of the logits; (C / num_heads) ** -0.5 by default.
        position_bias: Whether the logits have a position bias.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.
        pos_dim: Hidden width of the position bias; C // 16 by default.

    Shape:
        Input and output (B, groups, gh gw, C).

    Raises:
        ValueError: If an argument has no meaning, or the heads don't divide the channels, or there are fewer than 16
            and no pos_dim.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, eq. 1. Differs: members that must not be seen have a weight of zero
        in half precision too, where the official -1e6 is infinite and a group without any member becomes NaN.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        position_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        pos_dim: int | None = None,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_heads=num_heads)
        divisible(self, "dim", "num_heads", dim=dim, num_heads=num_heads)
        boolean(self, qkv_bias=qkv_bias, position_bias=position_bias)
        if qk_scale is not None:
            number(self, qk_scale=qk_scale)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        if pos_dim is not None:
            positive(self, pos_dim=pos_dim)
        elif position_bias:
            number(self, low=16, dim=dim)
        self.num_heads, self.scale, self.attn_drop = num_heads, qk_scale, attn_drop
        self.pos = DynamicPosBias(4 * (pos_dim or dim // 16), num_heads) if position_bias else None
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def by_pieces(self, x: Tensor, pieces: Pieces) -> Tensor:
        """Attend inside groups without padding or a mask: the result of maps, (B, H, W, C) both."""
        dropout = self.attn_drop if self.training else 0.0
        if self.pos is not None and pieces.group == pieces.size and pieces.size[0] * pieces.size[1] > MANY:
            return self._whole(x, self.pos, dropout)
        qkv = self.qkv(pieces.gather(x))
        bias = None if self.pos is None else self.pos.pairs(pieces.group).to(qkv.dtype)
        out = pieces.attend(qkv, x.shape[0], bias, self.num_heads, dropout, self.scale)
        return self.proj_drop(pieces.scatter(self.proj(out), x.shape[0]))

    def _whole(self, x: Tensor, pos: DynamicPosBias, dropout_p: float) -> Tensor:
        """The same for maps that are one group each, with the bias of a few rows of queries at a time."""
        h, w = x.shape[1:3]
        offsets, dy, dx = _offsets(pos.pos_proj.weight, h, w)
        q, k, v = rearrange(self.qkv(x), "b h w (three n c) -> three b n (h w) c", three=3, n=self.num_heads)
        table = pos(offsets).to(q.dtype)

        def bias(dy: Tensor, table: Tensor, dx: Tensor) -> Tensor:
            return _of_pairs(table, dy[0], dx)[None]

        out = attend_by_rows(q, k, v, dy[None], bias, (table, dx), dropout_p, self.scale)
        return self.proj_drop(self.proj(rearrange(out, "b n (h w) c -> b h w (n c)", h=h)))

    def forward(self, x: Tensor, group: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Attend inside the groups.

        Args:
            x: Members of the groups (B, groups, gh gw, C).
            group: Height and width (gh, gw) of a group.
            mask: Which members may be seen as keys, (groups, 1, gh gw), or by each query, (groups, gh gw, gh gw); None
                for all.
        """
        q, k, v = rearrange(self.qkv(x), "b g m (qkv n d) -> qkv b (g n) m d", qkv=3, n=self.num_heads)
        bias = None
        if self.pos is not None or mask is not None:
            bias = q.new_zeros(self.num_heads, 1, 1) if self.pos is None else self.pos.pairs(group).to(q.dtype)
            if mask is None:
                bias = bias.expand(x.shape[1], -1, -1, -1)
            else:  # finite with any logit added: a group of padding only has no member to see
                bias = torch.where(mask[:, None], bias, torch.finfo(q.dtype).min / 2)
            bias = bias.flatten(0, 1)[None]  # 1 (g n) m m: the same for all images
        out = F.scaled_dot_product_attention(q, k, v, bias, self.attn_drop if self.training else 0.0, scale=self.scale)
        return self.proj_drop(self.proj(rearrange(out, "b (g n) m d -> b g m (n d)", n=self.num_heads)))
