"""Scaled dot-product attention by PyTorch's fused kernels, and in blocks where these can't hold a position bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ._blocks import recomputed
from ._export import exporting, step_by_step
from ._sampling import at_least_float32, without_autocast

NARROW = 16  # channels of a head, from which on the CPU's kernel is at full speed: with 8 it takes 1.3 times as long
LOGITS = 2**18  # that a block has at most, over images and heads, unless one row has more: 1 MiB, what a cache holds
DROPPED = 2**20  # the same where dropout is all that asks for blocks: few large ones take less time


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention, softmax(scale q k^T + bias) v.

    Args:
        q: Queries (B, heads, Q, d). Fused kernels want the channels of each side by side in memory, those of keys and
            values too, and a bias without a gradient.
        k: Keys (B, heads, N, d).
        v: Values (B, heads, N, e).
        bias: Bias of the logits that broadcasts to (B, heads, Q, N), or None.
        dropout_p: Dropout of the attention weights.
        scale: Factor of the logits; d ** -0.5 by default.

    Returns:
        Result (B, heads, Q, e).
    """
    d, e = q.shape[-1], v.shape[-1]
    if bias is not None and _without_kernel(q, bias):
        logits = (q * (d**-0.5 if scale is None else scale)) @ k.transpose(-2, -1)
        weights = F.dropout(logits.add_(bias).softmax(-1), dropout_p)
        if e >= NARROW:
            return weights @ v
        return (v.transpose(-2, -1) @ weights.transpose(-2, -1)).transpose(-2, -1)  # long rows: twice as fast
    if bias is None and dropout_p and q.is_cpu and step_by_step():
        return _dropped(q, k, v, dropout_p, scale)
    if (d == e and d >= NARROW) or not q.is_cpu or not step_by_step():
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    scale = d**-0.5 if scale is None else scale
    width = max(d, e, NARROW)  # the CPU's kernel takes one width for all: without it there is a matrix of all pairs
    q, k, v = (each if each.shape[-1] == width else F.pad(each, (0, width - each.shape[-1])) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)[..., :e]


def _dropped(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, scale: float | None) -> Tensor:
    """Attention with dropout on a CPU, for which PyTorch has no fused kernel: a few queries at a time."""
    n = max(DROPPED // max(q.shape[0] * q.shape[1] * k.shape[2], 1), 1)
    if n >= q.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, None, dropout_p, scale=scale)
    if torch.is_autocast_enabled("cpu"):  # what the operation itself would do, here for the backward too
        q, k, v = (each.to(torch.get_autocast_dtype("cpu")) for each in (q, k, v))
    with without_autocast(q):
        return _Dropped.apply(q, k, v, n, dropout_p, scale)


class _Dropped(torch.autograd.Function):
    """Attention with dropout of n queries at a time, and the same again in the backward.

    All blocks are written into one result, and one state of the random numbers is kept. With a result and a state of
    each block between them, the C library finds no room for a block where the one before it was: at 80x80 that took
    as much memory as all pairs do.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, n: int, dropout_p: float, scale: float | None) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.given, ctx.random = (n, dropout_p, scale), torch.get_rng_state()
        out = q.new_empty(*q.shape[:3], v.shape[3])
        for queries, result in zip(q.split(n, 2), out.split(n, 2), strict=True):
            result.copy_(F.scaled_dot_product_attention(queries, k, v, None, dropout_p, scale=scale))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        n, dropout_p, scale = ctx.given
        q, k, v = (each.detach().requires_grad_() for each in ctx.saved_tensors)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        with torch.random.fork_rng([]), torch.enable_grad(), without_autocast(q):
            torch.set_rng_state(ctx.random)
            for queries, own, result in zip(q.split(n, 2), dq.split(n, 2), grad.split(n, 2), strict=True):
                y = F.scaled_dot_product_attention(queries, k, v, None, dropout_p, scale=scale)
                for total, part in zip((own, dk, dv), torch.autograd.grad(y, (queries, k, v), result), strict=True):
                    total.copy_(part) if total is own else total.add_(part)
        return dq, dk, dv, None, None, None


def _without_kernel(q: Tensor, bias: Tensor) -> bool:
    """Whether PyTorch has no fused kernel; what it does then looks for rows that are masked as a whole, too."""
    if not step_by_step() or not torch.is_grad_enabled():
        return False
    return q.is_cpu and q.dtype in (torch.float32, torch.float64) and bias.requires_grad


def pooled(x: Tensor, logits: Tensor) -> Tensor:
    """Means of a map's pixels, weighted by a softmax over these: in float32 at least, whatever autocast says.

    Args:
        x: Pixels (B, C, N).
        logits: Logits (B, n, N) of n sets of weights.

    Returns:
        Means (B, C, n).
    """
    with without_autocast(x):  # among many pixels a weight is too small for half precision
        weights = at_least_float32(logits).softmax(-1)
        return (at_least_float32(x) @ weights.transpose(1, 2)).to(x.dtype)


def attend_by_rows(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    bias: Callable[[Tensor], Tensor],
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention of a map's pixels, with a bias that is made for a few rows of them at a time.

    The backward makes it again, so that training needs no more memory either.

    Args:
        q: Queries (B, heads, H W, d), the pixels of a map.
        k, v: Keys and values (B, heads, N, d).
        rows: What the bias is made of, (..., H, ...) with the rows of the map in dimension 1.
        bias: Gives the bias (B or 1, heads, n W, N) for n rows of the map from these n of `rows`.
        dropout_p: Dropout of the attention weights.
        scale: Factor of the logits; d ** -0.5 by default.

    Returns:
        Result (B, heads, H W, d).
    """

    def some(queries: Tensor, rows: Tensor) -> Tensor:
        return attend(queries, k, v, bias(rows), dropout_p, scale)

    if exporting():  # the number of blocks would be fixed in a graph
        return some(q, rows)
    width = q.shape[2] // rows.shape[1]
    n = max(rows_at_once(q, k, width) // max(len(q), 1), 1)
    if n >= rows.shape[1]:
        return some(q, rows)
    blocks = zip(q.split(n * width, 2), rows.split(n, 1), strict=True)
    return torch.cat([recomputed(some, *block, random=dropout_p > 0) for block in blocks], 2)


def rows_at_once(q: Tensor, k: Tensor, width: int) -> int:
    """How many rows of `width` pixels a block may have, over all images; one at least."""
    return max(LOGITS // max(q.shape[1] * width * k.shape[2], 1), 1)
