"""Attention inside windows, regular and shifted (Swin Transformer: Liu et al., ICCV 2021), as DAT's stages use it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._blocks import by_blocks
from ._checks import heads, number, pair, positive
from ._export import in_graph
from ._layout import as_layout
from ._pieces import Pieces
from ._windows import Groups


@register(paper="arXiv:2103.14030", year=2021, kind="attention", tiny=(8, 2, (3, 2)), licence="Apache-2.0")
class LocalAttention(nn.Module):
    """Window attention: every pixel attends to its own window, with a learned bias for each relative position.

    Args:
        dim: Number of channels C.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        window_size: Height and width, or one number for both, of a window. The windows start at the top left corner.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.
        attn_drop: Dropout of attention weights in training.
        proj_drop: Dropout of the result in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If an argument has no meaning, or heads don't divide the channels.

    References:
        Liu et al., ICCV 2021, arXiv:2103.14030, eq. 4 and section 3.2 (W-MSA, fig. 2); the "L" of DAT's stages,
        arXiv:2201.00520. Differs: a map that is no whole number of windows is padded, and the padding is never
        attended to.
    """

    no_weight_decay = ("relative_position_bias_table",)

    relative_position_index: Tensor

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        window_size: int | Sequence[int] = 7,
        head_dim: int | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=0, high=1, attn_drop=attn_drop, proj_drop=proj_drop)
        self.num_heads, self.window_size = heads(self, dim, num_heads, head_dim), pair(self, window_size=window_size)
        self.shift_size, self.attn_drop = 0, attn_drop
        self.proj_qkv, self.proj_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        h, w = self.window_size
        table = torch.zeros((2 * h - 1) * (2 * w - 1), self.num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.01))
        y, x = (n.flatten() for n in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
        dy, dx = y[:, None] - y + h - 1, x[:, None] - x + w - 1  # query minus key, from 0
        self.register_buffer("relative_position_index", dy * (2 * w - 1) + dx)

    def forward(self, x: Tensor) -> Tensor:
        windows = Groups((x.shape[2], x.shape[3]), self.window_size, shift=self.shift_size)
        by_pixel = x.permute(0, 2, 3, 1)
        if not in_graph():
            pieces = windows.pieces
            out = by_blocks(lambda some: self._by_pieces(some, pieces), by_pixel, 3 * x[:1].numel())
        else:
            out = self._padded(by_pixel, windows)
        return as_layout(self.proj_drop(out).permute(0, 3, 1, 2), x)

    def _by_pieces(self, x: Tensor, pieces: Pieces) -> Tensor:
        """The result of maps, (B, H, W, C) both."""
        qkv = self.proj_qkv(pieces.gather(x))
        bias = self._table().to(qkv.dtype)
        out = pieces.attend(qkv, x.shape[0], bias, self.num_heads, self.attn_drop if self.training else 0.0)
        return pieces.scatter(self.proj_out(out), x.shape[0])

    def _padded(self, x: Tensor, windows: Groups) -> Tensor:
        """The same for a graph that is to suit any size."""
        qkv = windows.split(self.proj_qkv(x))
        # windows stand beside the heads, so that one bias serves all images
        q, k, v = rearrange(qkv, "b g k (three n c) -> three b (g n) k c", three=3, n=self.num_heads)
        bias = self._bias(windows, qkv.shape[1]).to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, bias, self.attn_drop if self.training else 0.0)
        out = windows.join(rearrange(out, "b (g n) k c -> b g k (n c)", n=self.num_heads))
        return self.proj_out(out)

    def _table(self) -> Tensor:
        """Bias (heads, N, N) of the logits in a window, queries first."""
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)

    def _bias(self, windows: Groups, count: int) -> Tensor:
        """Bias (windows heads, N, N) of the attention logits, minus infinity where a pair must not meet."""
        bias = self._table().expand(count, -1, -1, -1)
        if windows.padded or windows.shift:
            region = self._regions(windows, bias.device)
            bias = bias.masked_fill((region[:, :, None] != region[:, None])[:, None], float("-inf"))
        return bias.flatten(0, 1)

    def _regions(self, windows: Groups, device: torch.device) -> Tensor:
        """A number (windows, N) for each member: within a window those of one number are neighbours on the map.

        Padding is 0; a pixel's number says whether the roll has put it behind the last row, and behind the last column.
        Padding thus attends to padding alone, and every row of the attention has a key.
        """
        y, x = (torch.arange(n, device=device) < windows.shift for n in windows.size)
        region = 1 + y[:, None] * 2 + x * 1
        return windows.split(region[None, :, :, None])[0, :, :, 0]


@register(paper="arXiv:2103.14030", year=2021, kind="attention", tiny=(8, 2, 3), licence="Apache-2.0")
class ShiftWindowAttention(LocalAttention):
    """Shifted-window attention: the windows lie across the borders of LocalAttention's, and so connect these.

    Args:
        dim, num_heads, window_size: Those of LocalAttention.
        shift_size: Rows and columns by which the windows are shifted, less than the window; by default half of its
            shorter side, rounded up.
        head_dim, attn_drop, proj_drop: Those of LocalAttention.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: As LocalAttention does, or if the shift is not between 0 and the window.

    References:
        Liu et al., ICCV 2021, arXiv:2103.14030, section 3.2 (SW-MSA with the cyclic shift of fig. 4); the "S" of DAT's
        stages, arXiv:2201.00520. Differs: a map of a single window is shifted too, and half of an odd window is rounded
        up, as in DAT's code; the mask is made for the map at hand, not for a size fixed beforehand, and any size is
        padded.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        window_size: int | Sequence[int] = 7,
        shift_size: int | None = None,
        head_dim: int | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(dim, num_heads, window_size, head_dim, attn_drop, proj_drop)
        shorter = min(self.window_size)
        shift_size = (shorter + 1) // 2 if shift_size is None else shift_size
        positive(self, shift_size=shift_size)
        if shift_size >= shorter:
            raise ValueError(
                f"{type(self).__name__}: shift_size must be less than window_size, got {shift_size} and {shorter}. "
                "Use larger windows, or leave shift_size out."
            )
        self.shift_size = shift_size
