"""What a module looks at in one image: points, boxes, the weights of pixels, and gates.

`looks` is told for each class of modules by a function that is registered for it. Positions are (x, y), 0 to 1 from
edge to edge of a map, whatever the map's size: every map of a detector covers the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn

from ..modules._sampling import at_least_float32
from ..registry import find


@dataclass(frozen=True)
class Points:
    """Sampled points.

    Attributes:
        xy: Positions (N, 2).
        weight: How much each counts (N), the mean over queries and heads; None where none is told from the others.
        what: What the weight is, in words.
    """

    xy: Tensor
    weight: Tensor | None = None
    what: str = "weight of a point"


@dataclass(frozen=True)
class Boxes:
    """Sampled boxes (N, 4) as (x1, y1, x2, y2)."""

    xyxy: Tensor


@dataclass(frozen=True)
class Weights:
    """How much each pixel of a map counts (H, W), the mean over queries and heads."""

    map: Tensor


@dataclass(frozen=True)
class Gates:
    """What each channel is multiplied by (C), and each pixel (H, W).

    None where that isn't what a module does, NaN where there is nothing to multiply; `what` says it in words, `name` in
    one.
    """

    channels: Tensor | None = None
    map: Tensor | None = None
    what: str = "factor"
    name: str = "gate"


Look = Points | Boxes | Weights | Gates


@singledispatch
def looks(module: nn.Module, x: Tensor | Sequence[Tensor], queries: Tensor | None = None) -> list[Look]:
    """What a module looks at.

    Args:
        module: The module, in eval mode.
        x: The input of its forward for one image, (1, C, H, W), or a list of them.
        queries: Pixels (Q, 2) of its output as (row, column), None for all.

    Returns:
        What these pixels look at, one for each map that is looked at; nothing for a module that has nothing to show.
    """
    spec = find(type(module))
    if spec is None or "gate" not in spec.kind or not isinstance(x, Tensor):
        return []
    return [measured(x, module.forward(x), spec.kind)]


def shows(module: nn.Module) -> bool:
    """Whether `looks` may have something to show of a module."""
    spec = find(type(module))
    return looks.dispatch(type(module)) is not looks.dispatch(object) or bool(spec and "gate" in spec.kind)


def measured(x: Tensor, y: Tensor, kind: str, start: Tensor | float = 0.0, what: str = "factor") -> Gates:
    """The gates that make x to y: exactly, where they are the same for all pixels or for all channels; otherwise the
    ones that suit all pixels of a channel, and all channels of a pixel, best in the sense of least squares.

    Args:
        x: What is multiplied (1, C, H, W).
        y: The result (1, C, H, W).
        kind: "channel gate", "spatial gate" or both, as in the registry.
        start: What is added to the product.
        what: What a gate is, in words.
    """
    x, y = at_least_float32(x), at_least_float32(y) - start
    along, square = x * y, x.square()
    return Gates(
        along.sum((0, 2, 3)) / square.sum((0, 2, 3)) if "channel" in kind else None,
        along.sum((0, 1)) / square.sum((0, 1)) if "spatial" in kind else None,
        what,
    )


def rows_of(queries: Tensor | None, size: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Queries by row of a map of height and width `size`: the row, and the columns (n) in it.

    A row at a time needs no more memory than a forward does, where the weights of all pairs would.
    """
    if queries is None:
        yield from ((row, torch.arange(size[1])) for row in range(size[0]))
        return
    for row in queries[:, 0].unique().tolist():
        yield row, queries[queries[:, 0] == row, 1]


def softmax_weights(q: Tensor, k: Tensor, bias: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Weights (..., Q, N) of scaled dot-product attention, in float32 at least.

    Args:
        q, k: Queries (..., Q, d) and keys (..., N, d).
        bias: Bias of the logits that broadcasts to (..., Q, N), or None.
        scale: Factor of the logits, d ** -0.5 by default.
    """
    logits = at_least_float32(q) @ at_least_float32(k).transpose(-2, -1)
    logits = logits * (q.shape[-1] ** -0.5 if scale is None else scale)
    return (logits if bias is None else logits + at_least_float32(bias)).softmax(-1)
