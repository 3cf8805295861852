"""In which column and row each box of a graph of layers stands, and which way arrows go. Standard library only.

From top to bottom maps get smaller: all boxes of one size of map stand in one band of rows. A column goes on as long as
maps only shrink, or only grow, so a backbone goes down, and a neck goes up, and down again in the next column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

Cell = tuple[int, int]  # column and row


@dataclass(frozen=True)
class Node:
    """A box, as its layer and its text want it.

    Attributes:
        number: Number of the layer; -1 is the image.
        part: Number of the part of the model that it belongs to; each begins a new column.
        level: Height of its map in pixels.
        sources: Layers that it reads, in the order of its `from`.
        width, height: What its text takes, in points.
        label: Width of the label of the arrows from it, in points.
        alone: Whether it stands in a column of its own, as a head that reads several maps does.
    """

    number: int
    part: int
    level: int
    sources: Sequence[int]
    width: float
    height: float
    label: float
    alone: bool = False


@dataclass(frozen=True)
class Link:
    """An input of a layer, and which way its arrow goes.

    Attributes:
        source, target: Numbers of the layers.
        way: "next", down or up to the neighbour in a column; "loop", past others in a column; "straight", to the right;
            "soon" and "late", to the right with one turn, behind the source or before the target; "between", with two
            turns and a line between two rows of boxes.
        gap: For "between", which: gap i is above row i.
    """

    source: int
    target: int
    way: str
    gap: int = -1


def cells(nodes: Sequence[Node]) -> tuple[dict[int, Cell], dict[int, int]]:
    """Column and row of the boxes by number, and the first row of each band by level."""
    columns = _columns(nodes)
    first: dict[int, int] = {}
    end: dict[int, int] = {}
    rows = 0
    for level in sorted({node.level for node in nodes}, reverse=True):
        first[level] = rows
        rows = end[level] = rows + max(sum(node.level == level for node in column) for column, _ in columns)
    found: dict[int, Cell] = {}
    for c, (column, direction) in enumerate(columns):
        for level, band in groupby(column, lambda node: node.level):
            for k, node in enumerate(band):
                found[node.number] = (c, first[level] + k if direction >= 0 else end[level] - 1 - k)
        if column[0].alone:
            beside = [found[source][1] for source in column[0].sources]
            found[column[0].number] = (c, round(sum(beside) / len(beside)))
    return found, first


def _columns(nodes: Sequence[Node]) -> list[tuple[list[Node], int]]:
    """The columns, each with 1 where it goes down, -1 where it goes up, and 0 where all maps are of one size."""
    columns: list[tuple[list[Node], int]] = []
    for node in nodes:
        column, direction = columns[-1] if columns else ([node], 0)
        last = column[-1]
        step = (last.level > node.level) - (last.level < node.level)
        if not columns or node.part != last.part or node.alone or step * direction < 0:
            columns.append(([node], 0))
        else:
            columns[-1] = ([*column, node], direction or step)
    return columns


def links(nodes: Sequence[Node], at: Mapping[int, Cell]) -> Iterator[Link]:
    """All inputs of all layers."""
    taken = set(at.values())

    def free(row: int, a: int, b: int) -> bool:
        return not any((c, row) in taken for c in range(a + 1, b))

    for node in nodes:
        b, to = at[node.number]
        for k, source in enumerate(node.sources):
            a, row = at[source]
            again = source in node.sources[:k]
            between = False if a != b else any((a, r) in taken for r in range(min(row, to) + 1, max(row, to)))
            if a == b:
                yield Link(source, node.number, "loop" if between or again else "next")
            elif free(to, a, b):
                yield Link(source, node.number, "straight" if row == to and not again else "soon")
            elif free(row, a, b):
                yield Link(source, node.number, "late")
            else:
                yield Link(source, node.number, "between", to if row < to else to + 1)
