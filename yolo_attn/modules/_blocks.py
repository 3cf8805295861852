"""Attention with a position bias, a block of queries at a time: no more logits at once than a block has."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ._export import exporting

LOGITS = 2**18  # that a block has at most, over images and heads, unless one row has more: 1 MiB, what a cache holds


def attend_by_rows(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, bias: Callable[[Tensor], Tensor], dropout_p: float = 0.0
) -> Tensor:
    """Scaled dot-product attention of a map's pixels, with a bias that is made for a few rows of them at a time.

    The backward makes it again, so that training needs no more memory either.

    Args:
        q: Queries (B, heads, H W, d), the pixels of a map.
        k, v: Keys and values (B, heads, N, d).
        rows: What the bias is made of, (..., H, ...) with the rows of the map in dimension 1.
        bias: Gives the bias (B or 1, heads, n W, N) for n rows of the map from these n of `rows`.
        dropout_p: Dropout of the attention weights.

    Returns:
        Result (B, heads, H W, d).
    """

    def some(queries: Tensor, rows: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, k, v, bias(rows), dropout_p)

    width = q.shape[2] // rows.shape[1]
    n = max(LOGITS // max(q.shape[0] * q.shape[1] * width * k.shape[2], 1), 1)
    if exporting() or n >= rows.shape[1]:  # the number of blocks would be fixed in a graph
        return some(q, rows)
    blocks = zip(q.split(n * width, 2), rows.split(n, 1), strict=True)
    if torch.is_grad_enabled():
        random = dropout_p > 0
        return torch.cat([checkpoint(some, *b, use_reentrant=False, preserve_rng_state=random) for b in blocks], 2)
    return torch.cat([some(*block) for block in blocks], 2)
