"""Attention of a map's pixels with a position bias that is made for a few rows of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._attention import LOGITS, attend
from ._blocks import add_gradients, in_blocks, leaves
from ._export import exporting, step_by_step


def attend_by_rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    bias: Callable[..., Tensor],
    whole: Sequence[Tensor] = (),
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention of a map's pixels, with a bias that is made for a few rows of them at a time.

    The backward makes it again, so that training needs no more memory either.

    Args:
        q: Queries (B, heads, H W, d), the pixels of a map.
        k, v: Keys and values (B, heads, N, d).
        rows: What the bias is made of, (..., H, ...) with the rows of the map in dimension 1.
        bias: Gives the bias (B or 1, heads, n W, N) for n rows of the map from these n of `rows` and from `whole`. It
            must see every tensor that learns among these.
        whole: The tensors that it needs for every row.
        dropout_p: Dropout of the attention weights.
        scale: Factor of the logits; d ** -0.5 by default.

    Returns:
        Result (B, heads, H W, d).
    """

    def some(queries: Tensor, rows: Tensor, k: Tensor, v: Tensor, *whole: Tensor) -> Tensor:
        return attend(queries, k, v, bias(rows, *whole), dropout_p, scale)

    if exporting():  # the number of blocks would be fixed in a graph
        return some(q, rows, k, v, *whole)
    width = q.shape[2] // rows.shape[1]
    n = max(rows_at_once(q, k, width) // max(len(q), 1), 1)
    if n >= rows.shape[1]:
        return some(q, rows, k, v, *whole)
    if dropout_p == 0 and _is_plain(q):
        return _ByRows.apply(bias, n, q * (q.shape[-1] ** -0.5 if scale is None else scale), k, v, rows, *whole)
    return in_blocks(some, [(q, 2, n * width), (rows, 1, n)], (k, v, *whole), random=dropout_p > 0)


def rows_at_once(q: Tensor, k: Tensor, width: int) -> int:
    """How many rows of `width` pixels a block may have, over all images: LOGITS, or one row with more."""
    return max(LOGITS // max(q.shape[1] * width * k.shape[2], 1), 1)


def _is_plain(q: Tensor) -> bool:
    """Whether products are what they seem, and PyTorch has no kernel that knows the gradient of a bias."""
    full = q.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return q.is_cpu and step_by_step() and full


class _ByRows(torch.autograd.Function):
    """attend_by_rows of scaled queries, with the backward of FlashAttention (arXiv:2205.14135, algorithm 4): of the
    forward only the weights are computed again, and the result stands in for their sums."""

    @staticmethod
    def forward(ctx: Any, bias: Callable[..., Tensor], n: int, *tensors: Tensor) -> Tensor:
        q, k, v, rows, *whole = tensors
        out = v.new_empty(*q.shape[:3], v.shape[3])
        for some, queries, part in _blocks(n, [rows], [q, out]):
            part.copy_(attend(queries, k, v, bias(some, *whole), scale=1.0))
        ctx.save_for_backward(*tensors, out)
        ctx.bias, ctx.n = bias, n
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, rows, *whole, out = ctx.saved_tensors
        needed = ctx.needs_input_grad[5:]
        dq, dk, dv = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
        drows, *dwhole = (torch.zeros_like(t) if need else t for t, need in zip((rows, *whole), needed, strict=True))
        means = (grad * out).sum(-1, keepdim=True)  # of the gradients of a query's weights, by these weights
        for some, dsome, queries, far, mean, dqueries in _blocks(ctx.n, [rows, drows], [q, grad, means, dq]):
            with torch.enable_grad():
                bias = ctx.bias(*(given := leaves((some, *whole), needed)))
            weights = (queries @ k.transpose(2, 3)).add_(bias.detach()).softmax(-1)
            _add_product(dv, weights.transpose(2, 3), far)
            slopes = (far @ v.transpose(2, 3)).sub_(mean).mul_(weights)  # of the logits
            _add_product(dk, slopes.transpose(2, 3), queries)
            dqueries.copy_(slopes @ k)
            if bias.requires_grad:
                add_gradients((dsome, *dwhole), bias, given, slopes.sum_to_size(bias.shape))
        return None, None, dq, dk, dv, *(t if need else None for t, need in zip((drows, *dwhole), needed, strict=True))


def _blocks(n: int, rows: Sequence[Tensor], pixels: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """The parts of tensors, (..., H, ...) and (B, heads, H W, ...), that belong to n rows of a map."""
    width = pixels[0].shape[2] // rows[0].shape[1]
    return zip(*(t.split(n, 1) for t in rows), *(t.split(n * width, 2) for t in pixels), strict=True)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a b, of matrices (B, heads, ...)."""
    total.flatten(0, 1).baddbmm_(a.flatten(0, 1), b.flatten(0, 1))
