"""Scaled dot-product attention by PyTorch's fused kernels, or by what is faster on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ._blocks import in_blocks
from ._export import step_by_step
from ._sampling import at_least_float32, without_autocast

NARROW = 16  # channels of a head, from which on the CPU's kernel is at full speed: with 8 it takes 1.3 times as long
LOGITS = 2**18  # that a block has at most, over images and heads: 1 MiB, what a cache holds
SMALL = 60.0  # logits up to which exp neither overflows nor loses precision in float32, summed over all keys
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
    scale = d**-0.5 if scale is None else scale
    if not (q.is_cpu and step_by_step()):
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    if _without_kernel(q, v, bias):
        return _all_pairs(q, k, v, bias, dropout_p, scale)
    if bias is None and dropout_p:
        return _dropped(q, k, v, dropout_p, scale)
    if d == e and d >= NARROW:
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    if bias is None and _pairs(q, v) >= LOGITS and _is_plain(q, k, v) and _are_small(scaled := q * scale, k):
        return _of_small_logits(scaled, k, v)
    width = max(d, e, NARROW)  # the CPU's kernel takes one width for all: without it there is a matrix of all pairs
    q, k, v = (each if each.shape[-1] == width else F.pad(each, (0, width - each.shape[-1])) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)[..., :e]


def _pairs(q: Tensor, v: Tensor) -> int:
    """Pairs of queries and keys."""
    return q.shape[2] * v.shape[2]


def _without_kernel(q: Tensor, v: Tensor, bias: Tensor | None) -> bool:
    """Whether PyTorch has no fused kernel, or a slow one, and there is room for all pairs of queries and keys."""
    if q.dtype not in (torch.float32, torch.float64):
        return False  # logits might overflow
    if bias is not None:  # what PyTorch does where this learns looks for rows that are masked as a whole, too
        return torch.is_grad_enabled() and bias.requires_grad
    return _pairs(q, v) <= LOGITS and q.shape[-1] < v.shape[-1]  # a kernel takes one width for both


def _all_pairs(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout_p: float, scale: float) -> Tensor:
    """Attention with all its weights in memory, for which there is room in a cache."""
    logits = (q * scale) @ k.transpose(-2, -1)
    weights = F.dropout((logits if bias is None else logits.add_(bias)).softmax(-1), dropout_p)
    if v.shape[-1] >= NARROW:
        return weights @ v
    return (v.transpose(-2, -1) @ weights.transpose(-2, -1)).transpose(-2, -1)  # long rows: twice as fast


def _is_plain(*tensors: Tensor) -> bool:
    """Whether numbers are there to look at, and nobody learns from the result."""
    learns = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    return not learns and all(type(x) is Tensor and x.dtype is torch.float32 and x.numel() > 0 for x in tensors)


def _are_small(q: Tensor, k: Tensor) -> bool:
    """Whether no logit can be large, by the lengths of queries and keys."""
    return bool(math.prod(each.square().sum(-1).amax() for each in (q, k)) <= SMALL**2)


def _of_small_logits(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without the search for the largest logit, which only keeps exp from overflowing; on a CPU, a few
    queries at a time. Its fused kernel is slow for narrow heads, and takes one width for keys and values."""
    k, v = k.transpose(2, 3), F.pad(v.transpose(2, 3), (0, 0, 0, 1), value=1.0)  # ones, for the sums of weights
    out, length = v.new_empty(*v.shape[:3], q.shape[2]), max(LOGITS // k.shape[3], 1)
    logits = q.new_empty(min(length, q.shape[2]), k.shape[3])
    by_head = (each.flatten(0, 1).contiguous() for each in (q, k, v))
    for each, keys, values, sums in zip(*by_head, out.flatten(0, 1), strict=True):
        for queries, some in zip(each.split(length), sums.split(length, 1), strict=True):
            weights = torch.mm(queries, keys, out=logits[: len(queries)]).exp_()
            torch.mm(values, weights.t(), out=some)
    return (out[:, :, :-1] / out[:, :, -1:]).transpose(2, 3)


def _dropped(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, scale: float | None) -> Tensor:
    """Attention with dropout on a CPU, for which PyTorch has no fused kernel: a few queries at a time."""

    def some(queries: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, k, v, None, dropout_p, scale=scale)

    n = max(DROPPED // max(q.shape[0] * q.shape[1] * k.shape[2], 1), 1)
    if n >= q.shape[2]:
        return some(q, k, v)
    return in_blocks(some, [(q, 2, n)], (k, v), random=True)


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
