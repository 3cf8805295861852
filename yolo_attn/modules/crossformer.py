"""Blocks of long- and short-distance attention (CrossFormer: Wang et al., ICLR 2022)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from ..registry import register
from ._blocks import by_blocks
from ._checks import boolean, divisible, number, positive
from ._export import at_least, in_graph, smaller
from ._layout import as_layout
from ._windows import Groups
from .group_attention import GroupAttention


@register(paper="arXiv:2108.00154", year=2022, kind="attention", tiny=(64, 2, 2, 2, True, 1.0), licence="MIT")
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
        pos_dim: Hidden width of the dynamic position bias; C // 16 by default, which below 64 channels is so narrow
            that its LayerNorms leave little or nothing of a position.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, the heads don't divide the channels, or there are fewer than 16
            and no pos_dim.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, section 3.2, eq. 1-2, fig. 2; use_extra_conv, use_cpe and
        adaptive_interval are those of CrossFormer++, arXiv:2303.06908. Differs: the position bias is C // 16 wide, as
        in the official code, where the paper has C / 4; use_cpe convolves over height and width, where the official
        code takes the rows of the map for channels; a small map leaves no trace, where the official detection code
        turns LDA off for good; no stochastic depth.
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
        pos_dim: int | None = None,
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
        self.hidden = hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = GroupAttention(dim, num_heads, qkv_bias, qk_scale, not use_cpe, attn_drop, drop, pos_dim)
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
        like, x = x, x.permute(0, 2, 3, 1).contiguous()  # B H W C, until the end
        y = self.norm1(x)
        if self.cpe is not None and self.norm_cpe is not None:
            y = y + self.norm_cpe(_on_map(self.cpe, y))
        groups = self.groups((x.shape[1], x.shape[2]))
        if not in_graph() and not (self.no_mask and groups.padded):
            pieces = groups.pieces
            x = x + by_blocks(lambda some: self.attn.by_pieces(some, pieces), y, 3 * y[:1].numel())
        else:
            real = None if self.no_mask else groups.real(x.device)
            y = self.attn(groups.split(y), groups.group, None if real is None else real[:, None])
            x = x + groups.join(y)
        pixels = x.flatten(0, 2)
        x = by_blocks(lambda some: some + self.mlp(self.norm2(some)), pixels, self.hidden).view(x.shape)
        if self.ex_conv is not None and self.ex_ln is not None:
            x = self.ex_ln(_on_map(self.ex_conv, x))
        return as_layout(x.permute(0, 3, 1, 2), like)

    def groups(self, size: tuple[int, int]) -> Groups:
        """The groups of a map of height and width `size`."""
        if size[0] <= self.group_size or size[1] <= self.group_size:
            group = size if self.detection else (smaller(*size), smaller(*size))
            return Groups(size, group, split_padding=self.split_padding)
        interval = self.interval
        if self.adaptive_interval:
            side = at_least(*size) if self.detection else size[0]
            interval = (side + self.group_size - 1) // self.group_size
        group = (self.group_size, self.group_size)
        return Groups(size, group, interval if self.long_distance else 1, self.split_padding)


def _on_map(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution of maps (B, H, W, C)."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@register(
    paper="arXiv:2108.00154",
    year=2022,
    kind="attention",
    repeats=True,
    tiny=(64, 2, 2, 2, 2, 1.0),
    stands_for="C2f",
    licence="MIT",
)
class CrossFormerStage(nn.Module):
    """The blocks of a stage of CrossFormer: short- and long-distance attention in turn, short first.

    Args:
        dim: Number of channels C.
        n: Number of blocks; two are one pair of short and long.
        num_heads, interval, mlp_ratio, qkv_bias, qk_scale, use_cpe, split_padding, no_mask, adaptive_interval,
            detection, head_dim, attn_drop, drop, pos_dim: Those of CrossFormerBlock.
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
        pos_dim: int | None = None,
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
                    detection, head_dim, attn_drop, drop, pos_dim,
                )
                for i, size in enumerate(sizes)
            )
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)
