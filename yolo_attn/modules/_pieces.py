"""Groups of positions without padding or masks: the groups of one shape after those of another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ._attention import attend
from ._constants import constant

LOGITS = 2**20  # that a block of groups has at most on a CPU, unless one group has more: memory is used again then


@dataclass(frozen=True)
class Run:
    """Groups along one axis that are alike: blocks, one behind the other, of interleaved groups.

    Attributes:
        start: Position of the first member of the first group.
        blocks: Number of blocks.
        groups: Number of groups in a block; each begins a position behind the one before.
        members: Number of members of each group.
    """

    start: int
    blocks: int
    groups: int
    members: int


@dataclass(frozen=True)
class Pieces:
    """A map cut into groups of at most gh x gw positions: those at its borders have fewer, and nothing is padding.

    Attributes:
        size: Height and width of the map.
        group: Height and width (gh, gw) of a whole group.
        interval: Distance between the neighbours in a group.
        before: Rows and columns that the first block of groups lacks.
    """

    size: tuple[int, int]
    group: tuple[int, int]
    interval: int
    before: tuple[int, int]

    def runs(self) -> list[tuple[Run, Run]]:
        """Rows and columns of the groups of each shape."""
        rows, columns = (
            _runs(n, group, self.interval, before)
            for n, group, before in zip(self.size, self.group, self.before, strict=True)
        )
        return list(product(rows, columns))

    def gather(self, x: Tensor) -> Tensor:
        """The pixels (B H W, C) of maps (B, H, W, C), by shape of group, image, group and member."""
        return _Reorder.apply(x.flatten(0, 2), *_order(x, x.shape[0], self))

    def scatter(self, x: Tensor, batch: int) -> Tensor:
        """The inverse of gather."""
        order, back = _order(x, batch, self)
        return _Reorder.apply(x, back, order).view(batch, *self.size, x.shape[1])

    def attend(
        self, qkv: Tensor, batch: int, bias: Tensor | None, num_heads: int, dropout_p: float, scale: float | None = None
    ) -> Tensor:
        """Attention of each member to those of its group.

        Args:
            qkv: Queries, keys and values (B H W, 3 C) side by side, as gathered.
            batch: Number of images B.
            bias: Bias (heads, gh gw, gh gw) of the logits of a whole group, queries first, or None.
            num_heads: Number of heads, each a contiguous block of channels.
            dropout_p: Dropout of the attention weights.
            scale: Factor of the logits, (C / heads) ** -0.5 by default.

        Returns:
            Result (B H W, C), in the same order.
        """
        runs = self.runs()
        sizes = [batch * y.blocks * y.groups * y.members * x.blocks * x.groups * x.members for y, x in runs]
        if bias is not None:
            bias = bias.unflatten(2, self.group).unflatten(1, self.group)
        out = []
        for (y, x), groups in zip(runs, qkv.split(sizes), strict=True):
            h, w = y.members, x.members
            part = None if bias is None else bias[:, :h, :w, :h, :w].flatten(3).flatten(1, 2)[None]
            at_once = max(LOGITS // (num_heads * h * w * h * w), 1) * h * w if qkv.is_cpu else len(qkv)
            for some in groups.split(at_once):
                q, k, v = rearrange(some, "(g m) (three n c) -> three g n m c", m=h * w, three=3, n=num_heads)
                out.append(rearrange(attend(q, k, v, part, dropout_p, scale), "g n m c -> (g m) (n c)"))
        return torch.cat(out)


def _runs(size: int, group: int, interval: int, before: int) -> list[Run]:
    """All groups along an axis of `size` positions, where the first block lacks the first `before` of its positions."""
    span = group * interval
    head = min(-before % span, size)
    whole = (size - head) // span
    runs = [Run(head, whole, interval, group)]
    for start, length in ((0, head), (head + whole * span, (size - head) % span)):
        members, more = divmod(length, interval)  # of a block that is cut off, some groups have a member more
        runs += [Run(start, 1, more, members + 1), Run(start + more, 1, interval - more, members)]
    return [run for run in runs if run.blocks * run.groups * run.members]


def _positions(like: Tensor, run: Run, group: int, interval: int) -> Tensor:
    """Positions (groups, members) along an axis."""
    block, first, member = (torch.arange(n, device=like.device) for n in (run.blocks, run.groups, run.members))
    groups = (run.start + block[:, None] * (group * interval) + first).flatten()
    return groups[:, None] + member * interval


@constant
def _order(like: Tensor, batch: int, pieces: Pieces) -> tuple[Tensor, ...]:
    """Where each gathered member was among the pixels (B H W) of all images, and where each pixel went."""
    (h, w), (gh, gw) = pieces.size, pieces.group
    image = torch.arange(batch, device=like.device)[:, None, None, None, None] * (h * w)
    parts = []
    for rows, columns in pieces.runs():
        y = _positions(like, rows, gh, pieces.interval)[:, None, :, None] * w
        parts.append((image + y + _positions(like, columns, gw, pieces.interval)[:, None]).flatten())
    order = torch.cat(parts)
    return order.int(), order.argsort().int()  # half the memory, as long as they are kept


class _Reorder(torch.autograd.Function):
    """Rows of a matrix in another order, by `back` in the gradient: a gradient of indexing would be a sum."""

    @staticmethod
    def forward(x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        return x.index_select(0, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        order, back = ctx.saved_tensors
        return _Reorder.apply(grad, back, order), None, None
