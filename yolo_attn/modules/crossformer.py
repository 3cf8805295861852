"""Long- and short-distance attention in groups (CrossFormer: Wang et al., ICLR 2022)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import boolean, divisible, number, positive
from ._windows import Groups


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
        weight = self.pos_proj.weight
        offsets = [torch.arange(1 - n, n, dtype=weight.dtype, device=weight.device) for n in group]
        table = self(torch.stack(torch.meshgrid(*offsets, indexing="ij"), -1))  # 2gh-1 2gw-1 heads
        members = [torch.arange(n, device=weight.device) for n in group]
        dy, dx = (m[:, None] - m + len(m) - 1 for m in members)  # row of the table by query and key
        return rearrange(table[dy[:, None, :, None], dx[None, :, None, :]], "y x ky kx n -> n (y x) (ky kx)")


class GroupAttention(nn.Module):
    """Self-attention among the members of each group, with a dynamic position bias.

    Args:
        dim: Number of channels C, at least 16 with a position bias, whose hidden width is C // 16.
        num_heads: Number of attention heads.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor of the logits; (C / num_heads) ** -0.5 by default.
        position_bias: Whether the logits have a position bias.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.

    Shape:
        Input and output (B, groups, gh gw, C).

    Raises:
        ValueError: If an argument has no meaning, or the heads don't divide the channels.

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
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_heads=num_heads)
        divisible(self, "dim", "num_heads", dim=dim, num_heads=num_heads)
        boolean(self, qkv_bias=qkv_bias, position_bias=position_bias)
        if qk_scale is not None:
            number(self, qk_scale=qk_scale)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        if position_bias:
            number(self, low=16, dim=dim)
        self.num_heads, self.scale, self.attn_drop = num_heads, qk_scale, attn_drop
        self.pos = DynamicPosBias(dim // 4, num_heads) if position_bias else None
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

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


@register(paper="arXiv:2108.00154", tiny=(64, 2, 2, 2, True, 1.0), licence="MIT")
class CrossFormerBlock(nn.Module):
    """A transformer block with attention in groups, of neighbours (SDA) or of far positions (LDA); then an MLP.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads; C / head_dim by default.
        group_size: Height and width G of a group. A map that is not larger, on its shorter side, has groups of
            neighbours as wide as that side.
        interval: Distance between the neighbours in a group of LDA.
        long_distance: Whether a group holds every interval-th position (LDA), or adjacent ones (SDA).
        mlp_ratio: Hidden width of the MLP over C.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor of the logits; (C / num_heads) ** -0.5 by default.
        use_extra_conv: Whether the block ends with a depthwise 3x3 convolution and a LayerNorm, the "amplitude cooling
            layer" of CrossFormer++.
        use_cpe: Whether a conditional positional encoding, a depthwise 3x3 convolution and a LayerNorm added to the
            input of attention, takes the place of the dynamic position bias.
        split_padding: Whether a map that is no whole number of groups is padded on both sides, the smaller half at the
            top and left, and not only at the bottom and right.
        no_mask: Whether padding takes part in attention, as zeros.
        adaptive_interval: Whether the interval of LDA is H / G rounded up, so that a group reaches over the whole map.
        detection: Two rules of the official detection backbone: a map with a side of at most G is one group, and
            adaptive_interval follows its longer side.
        head_dim: Channels per head, where num_heads is not given: one YAML row then suits every width.
        attn_drop: Dropout of attention weights in training.
        drop: Dropout of attention's result and of the MLP in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, the heads don't divide the channels, or there are fewer than 16.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, section 3.2, eq. 1-2, fig. 2; use_extra_conv, use_cpe and
        adaptive_interval are those of CrossFormer++, arXiv:2303.06908. Differs: use_cpe convolves over height and
        width, where the official code takes the rows of the map for channels; a small map leaves no trace, where the
        official detection code turns LDA off for good; no stochastic depth.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int | None = None,
        group_size: int = 7,
        interval: int = 8,
        long_distance: bool = False,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        use_extra_conv: bool = False,
        use_cpe: bool = False,
        split_padding: bool = False,
        no_mask: bool = False,
        adaptive_interval: bool = False,
        detection: bool = False,
        head_dim: int = 32,
        attn_drop: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, group_size=group_size, interval=interval, head_dim=head_dim)
        boolean(self, long_distance=long_distance, use_extra_conv=use_extra_conv, use_cpe=use_cpe, no_mask=no_mask)
        boolean(self, split_padding=split_padding, adaptive_interval=adaptive_interval, detection=detection)
        number(self, low=1 / dim, mlp_ratio=mlp_ratio)
        number(self, low=0, high=1, drop=drop)
        if num_heads is None:
            divisible(self, "dim", "head_dim", dim=dim, head_dim=head_dim)
            num_heads = dim // head_dim
        elif head_dim not in (32, dim / num_heads):  # 32 is the default
            raise ValueError(
                f"CrossFormerBlock: give num_heads or head_dim, got {num_heads} and {head_dim} with {dim} channels. "
                "Leave one out."
            )
        self.group_size, self.interval, self.long_distance = group_size, interval, long_distance
        self.split_padding, self.no_mask, self.adaptive_interval = split_padding, no_mask, adaptive_interval
        self.detection = detection
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = GroupAttention(dim, num_heads, qkv_bias, qk_scale, not use_cpe, attn_drop, drop)
        self.cpe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim) if use_cpe else None
        self.norm_cpe = nn.LayerNorm(dim) if use_cpe else None
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(dim, hidden),
                act=nn.GELU(),
                drop1=nn.Dropout(drop),
                fc2=nn.Linear(hidden, dim),
                drop2=nn.Dropout(drop),
            )
        )
        self.ex_conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim) if use_extra_conv else None
        self.ex_ln = nn.LayerNorm(dim) if use_extra_conv else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # B H W C, until the end
        y = self.norm1(x)
        if self.cpe is not None and self.norm_cpe is not None:
            y = y + self.norm_cpe(_on_map(self.cpe, y))
        groups = self.groups((x.shape[1], x.shape[2]))
        real = None if self.no_mask else groups.real(x.device)
        y = self.attn(groups.split(y), groups.group, None if real is None else real[:, None])
        x = x + groups.join(y)
        x = x + self.mlp(self.norm2(x))
        if self.ex_conv is not None and self.ex_ln is not None:
            x = self.ex_ln(_on_map(self.ex_conv, x))
        return x.permute(0, 3, 1, 2)

    def groups(self, size: tuple[int, int]) -> Groups:
        """The groups of a map of height and width `size`."""
        if min(size) <= self.group_size:
            group = size if self.detection else (min(size), min(size))
            return Groups(size, group, split_padding=self.split_padding)
        interval = self.interval
        if self.adaptive_interval:
            interval = -(-(max(size) if self.detection else size[0]) // self.group_size)
        group = (self.group_size, self.group_size)
        return Groups(size, group, interval if self.long_distance else 1, self.split_padding)


def _on_map(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution of maps (B, H, W, C)."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@register(paper="arXiv:2108.00154", repeats=True, tiny=(64, 2, 2, 2, 2, 1.0), stands_for="C2f", licence="MIT")
class CrossFormerStage(nn.Module):
    """The blocks of a stage of CrossFormer: short- and long-distance attention in turn, short first.

    Args:
        dim: Number of channels C.
        n: Number of blocks; two are one pair of short and long.
        num_heads, interval, mlp_ratio, qkv_bias, qk_scale, use_cpe, split_padding, no_mask, adaptive_interval,
            detection, head_dim, attn_drop, drop: Those of CrossFormerBlock.
        group_size: That of CrossFormerBlock, or a list of n of them, one for each block.
        use_acl: Whether every third block, but never the last, ends with the cooling layer of CrossFormer++.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: As CrossFormerBlock does, or if there are not n group sizes.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, fig. 1; use_acl and group sizes by block are those of CrossFormer++,
        arXiv:2303.06908. Differs: the embedding layer between two stages is a row of its own, CrossScaleEmbed; and as
        CrossFormerBlock does.
    """

    def __init__(
        self,
        dim: int,
        n: int = 2,
        num_heads: int | None = None,
        group_size: int | Sequence[int] = 7,
        interval: int = 8,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        use_acl: bool = False,
        use_cpe: bool = False,
        split_padding: bool = False,
        no_mask: bool = False,
        adaptive_interval: bool = False,
        detection: bool = False,
        head_dim: int = 32,
        attn_drop: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, n=n)
        boolean(self, use_acl=use_acl)
        sizes = list(group_size) if isinstance(group_size, Sequence) else [group_size] * n
        if len(sizes) != n:
            raise ValueError(
                f"CrossFormerStage: group_size must be one number or as many as blocks, got {len(sizes)} for {n}. "
                "Give one number, which suits any depth."
            )
        self.blocks = nn.Sequential(
            *(
                CrossFormerBlock(
                    dim, num_heads, size, interval, i % 2 == 1, mlp_ratio, qkv_bias, qk_scale,
                    use_acl and i % 3 == 2 and i < n - 1, use_cpe, split_padding, no_mask, adaptive_interval,
                    detection, head_dim, attn_drop, drop,
                )
                for i, size in enumerate(sizes)
            )
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)
