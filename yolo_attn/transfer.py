"""Which layer of a pretrained model feeds which layer of a changed one. Standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer of a built model, as far as alignment needs it.

    Attributes:
        kind: What must agree for two layers to hold the same weights: the class name, for a registered module with that
            of the module inside.
        extra: Whether the layer is a registered module, which may have been inserted or removed.
        stands_for: Stock class in whose place a registered module may have been put, "*" for any, or "".
        name: What a user calls a registered module, the one inside where it is wrapped.
    """

    kind: str
    extra: bool = False
    stands_for: str = ""
    name: str = ""


def align(source: Sequence[Layer], target: Sequence[Layer]) -> list[int | None] | None:
    """The source layer of each target layer.

    Every stock layer must have its counterpart, in order; the last layers, the heads, belong together whatever they
    are.
    Registered modules may be new, gone, kept, or in the place of a stock layer that they stand for, or of
    several of that class in a row, as one of stride 4 is of two convolutions. Of all alignments that keep this, the one
    with most layers of equal kind is taken, and of those the one that matches early.

    Args:
        source: Layers of the model that has the weights.
        target: Layers of the model that gets them.

    Returns:
        For each target layer the index of its source, None for a new layer; or None if there is no such alignment.
    """
    # best[i][j]: number of equal pairs in source[i:], target[j:], or None where they can't be aligned
    last_s, last_t = len(source) - 1, len(target) - 1
    best: list[list[int | None]] = [[None] * (len(target) + 1) for _ in range(len(source) + 1)]
    best[-1][-1] = 0
    for i in range(len(source), -1, -1):
        for j in range(len(target), -1, -1):
            if i <= last_s and j <= last_t:
                counts = [count for count, _, _ in _steps(source, target, i, j, best)]
                best[i][j] = max(counts, default=None)
            elif i <= last_s:
                best[i][j] = best[i + 1][j] if source[i].extra else None
            elif j <= last_t:
                best[i][j] = best[i][j + 1] if target[j].extra else None
    if best[0][0] is None:
        return None
    pairs: list[int | None] = [None] * len(target)
    i = j = 0
    while i <= last_s and j <= last_t:
        _, di, dj = max(_steps(source, target, i, j, best), key=lambda step: step[0])  # the first of several
        if di and dj:
            pairs[j] = i
        i, j = i + di, j + dj
    return pairs


def _steps(source, target, i: int, j: int, best) -> list[tuple[int, int, int]]:
    """Possible (equal pairs from here, layers taken from source, layers taken from target)."""
    s, t = source[i], target[j]
    heads = (i == len(source) - 1) and (j == len(target) - 1)
    steps = []
    if (s.kind == t.kind and s.extra == t.extra) or heads:
        steps.append((1, 1, 1))
    elif _stands_for(t, s):
        steps += [(0, n, 1) for n in _runs(source, i)]
    elif _stands_for(s, t):
        steps += [(0, 1, n) for n in _runs(target, j)]
    if s.extra:
        steps.append((0, 1, 0))
    if t.extra:
        steps.append((0, 0, 1))
    rest = [(gain, best[i + di][j + dj], di, dj) for gain, di, dj in steps]
    return [(gain + more, di, dj) for gain, more, di, dj in rest if more is not None]


def _stands_for(layer: Layer, stock: Layer) -> bool:
    return layer.extra and not stock.extra and layer.stands_for in (stock.kind, "*")


def _runs(layers: Sequence[Layer], at: int) -> range:
    """1, 2 and so on, up to the number of layers of one kind in a row."""
    alike = itertools.takewhile(lambda layer: layer.kind == layers[at].kind, layers[at:])
    return range(1, len(list(alike)) + 1)


def first_difference(source: Sequence[Layer], target: Sequence[Layer]) -> int:
    """Number of the first target layer that has no counterpart, where the models can't be aligned."""
    stock = [layer.kind for layer in source if not layer.extra]
    seen, last = 0, -1
    for j, layer in enumerate(target):
        if layer.extra:
            continue
        if seen == len(stock) or layer.kind != stock[seen]:
            missing = layer.kind in stock[seen + 1 : seen + 2]  # a stock layer is gone, maybe for a registered one
            return last + 1 if missing else j
        seen, last = seen + 1, j
    return len(target) - 1
