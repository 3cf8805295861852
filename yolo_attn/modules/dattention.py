"""Deformable attention (DAT: Xia et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._attention import attend
from ._by_rows import attend_by_rows, rows_at_once
from ._checks import boolean, divisible, heads, number, one_of, pair, positive
from ._constants import constant
from ._export import at_least, exporting
from ._layout import as_layout
from ._sampling import at_least_float32, divided, sample

POSITION_ENCODINGS = ("dwc", "fixed", "log_cpb", "table", "none")


@constant
def _cells(like: Tensor, h: int, w: int) -> Tensor:
    """The regular grid (h, w, 2) of keys: cell centres over h - 1, as the official weights were trained with."""
    y, x = (
        (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5) / at_least(n - 1, 1) * 2 - 1  # one point is at 0
        for n in (h, w)
    )
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)


@constant
def _axes(like: Tensor, h: int, w: int) -> tuple[Tensor, ...]:
    """Rows (h) and columns (w) of pixels, -1 to 1 from the first to the last one."""
    return tuple(
        (2 * torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1)) / at_least(n - 1, 1)  # one pixel is at 0
        for n in (h, w)
    )


class LayerNormProxy(nn.Module):
    """LayerNorm over the channels of a map (B, C, H, W); parameters `norm.weight` and `norm.bias`, as in DAT."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@register(
    paper="arXiv:2201.00520",
    year=2022,
    kind="deformable",
    known_as=("DAttentionBaseline", "DeformableAttention", "DAT"),
    tiny=(8, None, 2),
    licence="Apache-2.0",
)
class DAttention(nn.Module):
    """Deformable attention: every pixel attends to a grid of points that the image itself has moved.

    Args:
        dim: Number of channels C.
        q_size: Height and width, or one number for both, of the map in training: a hint that only the sized position
            encodings ("fixed", "table") use. Maps of any other size work too.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        num_groups: Number of offset groups; every group of channels moves its points by itself.
        stride: Stride between the points, in pixels. N = ceil(H / stride) * ceil(W / stride) keys; floor in place of
            ceil where kernel_size equals stride.
        kernel_size: Kernel of the depthwise convolution that sees q and makes the offsets: odd, or equal to stride.
        offset_range: At least 0: offsets are tanh-bounded to this many key-grid cells. Negative: they are free, and the
            points are clamped to the map.
        pe: Position encoding. "dwc": a depthwise 3x3 convolution of q, added to the result. "table": a learned table of
            relative positions, sampled between its entries. "fixed": a learned bias for each query and key.
            "log_cpb": an MLP of log-spaced relative positions. "none": none.
        no_off: Average-pooled keys on a regular grid: no offsets and no position bias. The offset network stays in the
            state_dict, frozen and without effect.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, heads or groups don't divide the channels, groups don't divide the
            heads where a position bias is shared by group, the kernel is even and not equal to stride, or a sized
            position encoding has no q_size.

    References:
        Xia et al., CVPR 2022, arXiv:2201.00520, eq. 5-9, fig. 2; "log_cpb" and kernels by stage are those of DAT++,
        arXiv:2309.01430. Points and their asymmetric grid are the official code's, so that its weights load. Differs:
        maps and key grids of one pixel have finite positions (the centre); even an H that stride doesn't divide works
        with no_off; "fixed" is interpolated to other sizes.
    """

    no_weight_decay = ("rpe_table",)

    def __init__(
        self,
        dim: int,
        q_size: int | Sequence[int] | None = None,
        num_heads: int = 8,
        num_groups: int = 1,
        stride: int = 1,
        kernel_size: int = 3,
        offset_range: float = -1,
        pe: str = "dwc",
        no_off: bool = False,
        head_dim: int | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_groups=num_groups, stride=stride, kernel_size=kernel_size)
        num_heads = heads(self, dim, num_heads, head_dim)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        one_of(self, "pe", pe, POSITION_ENCODINGS)
        number(self, offset_range=offset_range)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        boolean(self, no_off=no_off)
        if pe in ("log_cpb", "table") and not no_off:
            divisible(self, "num_heads", "num_groups", num_heads=num_heads, num_groups=num_groups)
        if kernel_size % 2 == 0 and kernel_size != stride:
            raise ValueError(
                f"DAttention: kernel_size must be odd or equal to stride, got {kernel_size} with stride {stride}. "
                f"Choose {kernel_size + 1}."
            )
        self.num_heads, self.num_groups, self.stride = num_heads, num_groups, stride
        self.offset_range, self.pe, self.no_off, self.attn_drop = offset_range, pe, no_off, attn_drop
        self.q_size = None if q_size is None else pair(self, q_size=q_size)
        width = dim // num_groups
        padding = 0 if kernel_size == stride else kernel_size // 2
        self.conv_offset = nn.Sequential(
            nn.Conv2d(width, width, kernel_size, stride, padding, groups=width),
            LayerNormProxy(width),
            nn.GELU(),
            nn.Conv2d(width, 2, 1, bias=False),
        )
        if no_off:
            self.conv_offset.requires_grad_(False)
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (nn.Conv2d(dim, dim, 1) for _ in range(4))
        self.proj_drop = nn.Dropout(proj_drop)
        self.rpe_table: Any = None if no_off else self._position_encoding(dim)

    def _position_encoding(self, dim: int) -> nn.Module | nn.Parameter | None:
        if self.pe == "dwc":
            return nn.Conv2d(dim, dim, 3, 1, 1, groups=dim)
        if self.pe == "log_cpb":
            per_group = self.num_heads // self.num_groups
            return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, per_group, bias=False))
        if self.pe == "none":
            return None
        if self.q_size is None:
            raise ValueError(
                f"DAttention: q_size must be given for pe={self.pe!r}, got None. Give the map's size in training, "
                "such as 20 for the last backbone map of 640-pixel images."
            )
        h, w = self.q_size
        if self.pe == "table":
            table = torch.zeros(self.num_heads, 2 * h - 1, 2 * w - 1)
        else:
            table = torch.zeros(self.num_heads, h * w, max(h // self.stride, 1) * max(w // self.stride, 1))
        return nn.Parameter(nn.init.trunc_normal_(table, std=0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x)[0]

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The result with the points that were looked at.

        Args:
            x: Map (B, C, H, W).

        Returns:
            Result (B, C, H, W); points (B, g, h, w, 2) as (y, x) in [-1, 1], the centres of the first and the last
            pixel; and the regular grid (B, g, h, w, 2) that they were moved from.
        """
        q = self.proj_q(x)
        keys, pos, reference = self._keys(x, q)
        out = self._attention(q, self.proj_k(keys), self.proj_v(keys), pos)
        if self.pe == "dwc" and self.rpe_table is not None:
            out = out + self.rpe_table(q)
        by_batch = (rearrange(p, "(b g) h w yx -> b g h w yx", g=self.num_groups) for p in (pos, reference))
        return self.proj_drop(self.proj_out(out)), *by_batch

    def _keys(self, x: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What keys and values are made of (B, C, h, w), its points and their regular grid, (B g, h, w, 2) each."""
        if self.no_off:
            window = [min(self.stride, n) for n in x.shape[2:]]
            keys = F.avg_pool2d(x, window, ceil_mode=self.conv_offset[0].padding != (0, 0))  # as many as with offsets
            cells = _cells(at_least_float32(keys), *keys.shape[2:])
            reference = cells.expand(x.shape[0] * self.num_groups, -1, -1, -1)
            return keys, reference.clamp(-1, 1) if self.offset_range < 0 else reference, reference
        pos, reference = self._points(q)
        x_by_group = rearrange(x, "b (g c) h w -> (b g) c h w", g=self.num_groups)
        keys = rearrange(sample(x_by_group, *pos.unbind(-1)), "(b g) c h w -> b (g c) h w", g=self.num_groups)
        return keys, pos, reference

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, pos: Tensor) -> Tensor:
        """Attention of maps, (B, C, H, W) each, to a map (B, C, H, W)."""
        q, k, v = (self._heads(each) for each in (query, key, value))
        dropout = self.attn_drop if self.training else 0.0
        if self.rpe_table is None or self.pe == "dwc":
            out = attend(q, k, v, dropout_p=dropout)
        elif self.pe == "fixed":
            bias = self._fixed_bias(query.shape[2:], pos.shape[1:3]).to(q.dtype)
            out = attend(q, k, v, bias, dropout)
        elif exporting():
            out = attend_by_rows(q, k, v, *self._bias(query, pos), dropout_p=dropout)
        else:  # what the bias is made of is itself as large as the bias of some rows of an image
            images = rows_at_once(q, k, query.shape[3])
            split = zip(
                *(each.split(images) for each in (q, k, v, query)), pos.split(images * self.num_groups), strict=True
            )
            out = torch.cat(
                [attend_by_rows(q, k, v, *self._bias(*rest), dropout_p=dropout) for q, k, v, *rest in split]
            )
        return as_layout(rearrange(out, "b n (h w) c -> b (n c) h w", h=query.shape[2]), query)

    def _heads(self, x: Tensor) -> Tensor:
        """A map (B, C, H, W) as (B, heads, H W, C / heads)."""
        return rearrange(
            x.contiguous(memory_format=torch.channels_last), "b (n c) h w -> b n (h w) c", n=self.num_heads
        )

    def _points(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Sampling points and their regular grid, (B g, h, w, 2) each."""
        q = rearrange(q, "b (g c) h w -> (b g) c h w", g=self.num_groups)
        conv = self.conv_offset[0]
        if conv.padding == (0, 0):  # a kernel equal to stride: maps smaller than it would have no key
            q = F.pad(q, (0, at_least(self.stride - q.shape[3], 0), 0, at_least(self.stride - q.shape[2], 0)))
        offset = at_least_float32(self.conv_offset(q)).permute(0, 2, 3, 1)  # (B g) h w 2
        h, w = offset.shape[1:3]
        reference = _cells(offset, h, w).expand_as(offset)
        if self.offset_range < 0:
            return (offset + reference).clamp(-1, 1), reference
        return divided(offset.tanh() * self.offset_range, at_least(h - 1, 1), at_least(w - 1, 1)) + reference, reference

    def _bias(self, q: Tensor, pos: Tensor) -> tuple[Tensor, Callable[..., Tensor], Sequence[Tensor]]:
        """What `attend_by_rows` makes the bias of: for each row of the map, how, and of what for all rows."""
        dtype, keys = q.dtype, pos.flatten(1, 2).unbind(-1)
        far_y, far_x = (  # from keys to queries, (B g) H|W N: 2 is the whole map
            axis[:, None] - key[:, None] for axis, key in zip(_axes(pos, *q.shape[2:]), keys, strict=True)
        )
        rows, by_group, whole = (self._table if self.pe == "table" else self._log_cpb)(far_y, far_x)

        def bias(*some: Tensor) -> Tensor:
            return rearrange(by_group(*some), "(b g) n q k -> b (g n) q k", g=self.num_groups).to(dtype)

        return rows, bias, whole

    def _table(self, far_y: Tensor, far_x: Tensor) -> tuple[Tensor, Callable[..., Tensor], Sequence[Tensor]]:
        tables = rearrange(self.rpe_table, "(g n) h w -> g n h w", g=self.num_groups)
        tables = tables.repeat(far_y.shape[0] // self.num_groups, 1, 1, 1)

        def bias(far_y: Tensor, far_x: Tensor, tables: Tensor) -> Tensor:
            y, x = torch.broadcast_tensors(far_y[:, :, None], far_x[:, None])
            return sample(tables, y.flatten(1, 2), x.flatten(1, 2))

        return far_y / 2, bias, (far_x / 2, tables)  # the table is twice as wide as the map

    def _log_cpb(self, far_y: Tensor, far_x: Tensor) -> tuple[Tensor, Callable[..., Tensor], Sequence[Tensor]]:
        first, _, last = self.rpe_table
        y, x = (  # shares of the hidden layer, (B g) H|W hidden N
            weight[:, None] * (far.sign() * (4 * far.abs() + 1).log2() / 3).to(weight.dtype).unsqueeze(2)  # log2(8)
            for weight, far in zip(first.weight.unbind(1), (far_y, far_x), strict=True)
        )
        x = (x.transpose(1, 2) + first.bias[:, None, None]).contiguous()[:, None]

        def bias(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
            hidden = (y.unsqueeze(3) + x).relu_()  # (B g) rows hidden W N
            out = weight.expand(y.shape[0] * y.shape[1], -1, -1).bmm(rearrange(hidden, "b r c w k -> (b r) c (w k)"))
            return rearrange(out, "(b r) n (w k) -> b n (r w) k", b=y.shape[0], k=y.shape[3])

        return y, bias, (x, last.weight)

    def _fixed_bias(self, size: Sequence[int], key_size: Sequence[int]) -> Tensor:
        """The learned bias (1, heads, H W, N), interpolated where the map or its key grid has another size."""
        h, w = self.q_size or (0, 0)  # given where there is a table
        kh, kw = max(h // self.stride, 1), max(w // self.stride, 1)
        bias = self.rpe_table
        if exporting() or tuple(key_size) != (kh, kw):
            bias = rearrange(bias, "n q (kh kw) -> n q kh kw", kh=kh)
            bias = F.interpolate(bias, tuple(key_size), mode="bilinear", align_corners=True).flatten(2)
        if exporting() or tuple(size) != (h, w):
            bias = rearrange(bias, "n (h w) k -> n k h w", h=h)
            bias = F.interpolate(bias, tuple(size), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)
        return bias[None]
