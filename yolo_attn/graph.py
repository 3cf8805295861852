"""Edit the rows of a model, in place: every `from` keeps naming the layer that it named. Standard library only.

A model is a mapping with the lists `backbone` and `head` of rows [from, repeats, module, arguments]; layers are
numbered through both.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, MutableSequence, Sequence
from typing import Any

Model = MutableMapping[str, Any]
Row = MutableSequence[Any]


def rows(model: Model) -> list[Row]:
    """All rows of a model, by layer number."""
    return [*model["backbone"], *model["head"]]


def sources(row: Sequence[Any], i: int) -> list[int]:
    """Layer numbers of the inputs of row i; -1 is the image."""
    return [f if f >= 0 else i + f for f in _list(row[0])]


def insert(model: Model, after: int, row: Row, of: int | None = None) -> int:
    """Insert a row behind a layer.

    Args:
        model: The model, which is changed.
        after: Number of the layer.
        row: The new row. Its `from` is set; where it is a list, it holds layer numbers of the model as it was, which
            the row is wired to.
        of: Number of the layer whose output, wherever a later row took it, is now the new row's: `after` by default.

    Returns:
        The number of the new layer, after + 1.

    Raises:
        ValueError: If a list of sources holds the image, -1.
    """
    new, of = after + 1, after if of is None else of
    if isinstance(row[0], Sequence):
        _refuse_image(row[0], "insert")
        row[0] = [f - new if f == of == after else f for f in row[0]]
    else:
        row[0] = of - new
    shift = {s: s + (s >= new) for s in range(-1, len(rows(model)))}
    _renumber(model, lambda s, i: new if s == of and i > after else shift[s], shift)
    part, at = _position(model, new)
    part.insert(at, row)
    return new


def remove(model: Model, layer: int) -> Row:
    """Remove a row with one input, or whose first input stands for it; what used its output uses that input.

    Args:
        model: The model, which is changed.
        layer: Number of the row.

    Returns:
        The removed row.

    Raises:
        ValueError: If the row reads the image, which is no layer that others could use instead.
    """
    first = sources(rows(model)[layer], layer)[0]
    _refuse_image([first], "remove")
    part, at = _position(model, layer, existing=True)
    removed = part[at]
    shift = {s: s - (s > layer) for s in range(-1, len(rows(model)))}
    del part[at]
    _renumber(model, lambda s, _: first if s == layer else shift[s], shift, skipped=layer)
    return removed


def replace(model: Model, layer: int, module: str, args: Sequence[Any], repeats: int = 1) -> None:
    """Put another module in the place of a layer; its inputs and users stay."""
    part, at = _position(model, layer, existing=True)
    part[at][1], part[at][2], part[at][3] = repeats, module, list(args)


def _renumber(
    model: Model, moved: Callable[[int, int], int], shift: dict[int, int], skipped: int | None = None
) -> None:
    """Rewrite each `from`: sources s of row i by `moved(s, i)`, the rows' own numbers by `shift`; a relative index
    stays relative."""
    for now, row in enumerate(rows(model)):
        i = now if skipped is None or now < skipped else now + 1  # the row's number before the change
        renumbered = [
            moved(s, i) - shift[i] if f < 0 else moved(s, i)
            for f, s in zip(_list(row[0]), sources(row, i), strict=True)
        ]
        row[0] = renumbered if isinstance(row[0], Sequence) else renumbered[0]


def _refuse_image(layers: Sequence[int], verb: str) -> None:
    if min(layers) < 0:
        raise ValueError(f"{verb}: a layer that reads the image can't be replaced by its input. Choose another layer.")


def _list(source: int | Sequence[int]) -> Sequence[int]:
    return source if isinstance(source, Sequence) else [source]


def _position(model: Model, layer: int, existing: bool = False) -> tuple[MutableSequence[Row], int]:
    """The list that holds a layer and its index in it. A new layer at the seam ends the backbone."""
    split = len(model["backbone"])
    in_backbone = layer < split if existing else layer <= split
    return (model["backbone"], layer) if in_backbone else (model["head"], layer - split)
