"""Which layer of a pretrained model feeds which layer of a changed one. Standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_STEPS = 250_000  # some seconds


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
    are. Registered modules may be new, gone, kept, or in the place of a stock layer that they stand for, or of several
    of that class in a row, as one of stride 4 is of two convolutions. Of all alignments that keep this, the one with
    most layers of equal kind is taken, and of those the one that matches early.

    Args:
        source: Layers of the model that has the weights.
        target: Layers of the model that gets them.

    Returns:
        For each target layer the index of its source, None for a new layer; or None if there is no such alignment, or
        the search is given up, as between models that have five hundred registered modules, all others, in a row.
    """
    end = (len(source), len(target))
    best: dict[tuple[int, int], int | None] = {end: 0}  # equal pairs from source[i:], target[j:] on; None: no alignment
    open_ = [(0, 0)]
    while open_:  # only what can be reached: mostly one way, where a table of all i and j would be quadratic
        if len(best) > MOST_STEPS:
            return None
        at = open_[-1]
        if at not in best:
            steps = _steps(source, target, *at)
            if unknown := [step.to for step in steps if step.to not in best]:
                open_ += unknown
                continue
            best[at] = max((known + step.gain for step in steps if (known := best[step.to]) is not None), default=None)
        open_.pop()
    if best[0, 0] is None:
        return None
    pairs: list[int | None] = [None] * len(target)
    at = (0, 0)
    while at != end:
        good = ((best[step.to], step) for step in _steps(source, target, *at))
        step = next(step for known, step in good if known is not None and known + step.gain == best[at])  # the first
        if step.pairs:
            pairs[at[1]] = at[0]
        at = step.to
    return pairs


class _Step(NamedTuple):
    """One step of an alignment: to which layers it leads, how many equal pairs it makes, and whether it is a pair."""

    to: tuple[int, int]
    gain: int = 0
    pairs: bool = False


def _steps(source: Sequence[Layer], target: Sequence[Layer], i: int, j: int) -> list[_Step]:
    """Possible steps from source[i], target[j] on."""
    if i == len(source) or j == len(target):
        rest, to = (source[i], (i + 1, j)) if i < len(source) else (target[j], (i, j + 1))
        return [_Step(to)] if rest.extra else []
    s, t = source[i], target[j]
    steps, last_s, last_t = [], i == len(source) - 1, j == len(target) - 1
    if (s.kind == t.kind and s.extra == t.extra) or (last_s and last_t):
        steps.append(_Step((i + 1, j + 1), 1, True))
        if not (s.stands_for or t.stands_for or last_s or last_t):
            return steps  # nothing else is better: whatever one of the two had been paired with is free to be skipped
    elif _stands_for(t, s):
        steps += [_Step((i + n, j + 1), 0, True) for n in _runs(source, i)]
    elif _stands_for(s, t):
        steps += [_Step((i + 1, j + n), 0, True) for n in _runs(target, j)]
    if s.extra:
        steps.append(_Step((i + 1, j)))
    if t.extra:
        steps.append(_Step((i, j + 1)))
    return steps


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
