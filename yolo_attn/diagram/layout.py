"""Where the boxes and arrows of a graph of layers go on the page. Standard library only.

An arrow between columns leaves its box in the middle of its right side, changes its height in a lane in the gutter
between two columns, and crosses a column where that has no box, or between two rows of boxes: it meets no box and no
label, and two lie on one another only where they come from one box.

Lengths are points, x from left to right and y downwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .grid import Node, cells, links

GAP = 21.0  # between two boxes: an arrow with its label
LANE = 7.0  # between two lines side by side
BAND = 8.0  # more between two boxes of different bands
HEAD = 9.0  # of an arrow
STEP = 12.0  # between two arrows that reach one box: a label
LABEL = 8.0  # height of a label

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """An arrow: its corners from source to target, and where its label has the middle of its left or right end."""

    source: int
    target: int
    points: Sequence[Point]
    label: Point
    align: str


@dataclass(frozen=True)
class Plan:
    """The whole picture: boxes by number, arrows, bands as (level, top, bottom), parts as (left, right)."""

    boxes: Mapping[int, Box]
    arrows: Sequence[Arrow]
    bands: Sequence[tuple[int, float, float]]
    parts: Sequence[tuple[float, float]]
    width: float
    height: float


def plan(nodes: Sequence[Node]) -> Plan:
    """Place boxes and arrows.

    Args:
        nodes: The image and the layers, in the order of the model.
    """
    return _Planner(nodes).plan()


class _Planner:
    """The steps to a plan: each needs what those before it found."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = {node.number: node for node in nodes}
        self.cells, self.first = cells(nodes)
        self.links = list(links(nodes, self.cells))
        self.columns = 1 + max(column for column, _ in self.cells.values())
        self.rows = 1 + max(row for _, row in self.cells.values())

    def plan(self) -> Plan:
        self._place_ends()
        self._place_rows()
        self._place_lanes()
        self._place_columns()
        boxes = {number: self._box(number) for number in self.nodes}
        arrows = [self._arrow(i, boxes) for i in range(len(self.links))]
        edges = [*(self.tops[row] + BAND / 2 for row in self.first.values()), self.tops[-1]]
        bands = list(zip(self.first, edges, edges[1:], strict=False))
        parts: dict[int, list[int]] = defaultdict(list)
        for number, node in self.nodes.items():
            parts[node.part].append(self.cells[number][0])
        sides = [(self.left[min(its)], self.right[max(its)]) for its in parts.values()]
        return Plan(boxes, arrows, bands, sides, self.width, self.tops[-1] + LANE * len(self.tracks[-1]))

    def _place_ends(self) -> None:
        """Where arrows reach their boxes, by number of link: how far below the height at which others leave.

        Arrows leave at 0, and a straight one comes in there. The heights of others keep off that, and those at the
        right sides off those at the left of the next column, so that no two lines lie on one another in a gutter.
        """
        self.ends: dict[int, float] = {}
        here: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for i, link in enumerate(self.links):
            if link.way != "next":
                here[link.target, link.way == "loop"].append(i)
        for (_, loop), arriving in here.items():
            arriving.sort(key=lambda i: self.cells[self.links[i].source][::-1])  # from above first
            straight = [k for k, i in enumerate(arriving) if self.links[i].way == "straight"]
            if straight:
                offsets = [STEP * (k - straight[0]) for k in range(len(arriving))]
            else:
                up, down = (-0.75, 1.25) if loop else (-0.5, 0.5)
                offsets = sorted(STEP * (down + k // 2 if k % 2 else up - k // 2) for k in range(len(arriving)))
            self.ends |= dict(zip(arriving, offsets, strict=True))

    def _place_rows(self) -> None:
        """Heights: the tops of gaps and rows, where arrows leave, and how far boxes go up and down from there."""
        self.up = {number: node.height / 2 for number, node in self.nodes.items()}
        self.down = dict(self.up)
        for i, offset in self.ends.items():
            target = self.links[i].target
            self.up[target] = max(self.up[target], LABEL - offset)
            self.down[target] = max(self.down[target], LABEL + offset)
        self.tracks: list[list[int]] = [[] for _ in range(self.rows + 1)]  # sources of lines in the gaps
        for link in self.links:
            if link.way == "between" and link.source not in self.tracks[link.gap]:
                self.tracks[link.gap].append(link.source)
        self.tops, self.middles, self.row_tops = [0.0], [], []
        for row in range(self.rows):
            here = [number for number, (_, r) in self.cells.items() if r == row]
            gap = BAND * (row in self.first.values()) + LANE * len(self.tracks[row]) + GAP * (row > 0)
            self.row_tops.append(self.tops[-1] + gap)
            self.middles.append(self.row_tops[-1] + max(self.up[number] for number in here))
            self.tops.append(self.middles[-1] + max(self.down[number] for number in here))

    def _turns(self, i: int) -> Iterator[tuple[int, float, float]]:
        """Where an arrow changes its height: gutters, each at the left of the column of its number, and heights."""
        link = self.links[i]
        (a, row), (b, to) = self.cells[link.source], self.cells[link.target]
        if link.way in ("soon", "late", "loop"):
            yield b if link.way == "late" else a + 1, self.middles[row], self.middles[to] + self.ends[i]
        elif link.way == "between":
            track = LANE * (self.tracks[link.gap].index(link.source) + 0.5)
            track += self.tops[link.gap] + BAND * (link.gap in self.first.values())
            yield a + 1, self.middles[row], track
            yield b, track, self.middles[to] + self.ends[i]

    def _place_lanes(self) -> None:
        """Lanes by gutter and source, and their number by gutter: what comes from one box shares one."""
        spans: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for i, link in enumerate(self.links):
            for gutter, start, end in self._turns(i):
                spans[gutter][link.source] += [start, end]
        self.lanes: dict[tuple[int, int], int] = {}
        self.widths: dict[int, int] = {}
        for gutter, by_source in spans.items():
            taken: list[list[tuple[float, float]]] = []  # of each lane
            for source, heights in sorted(by_source.items(), key=lambda each: max(each[1]) - min(each[1])):
                low, high = min(heights), max(heights)
                free = (k for k, its in enumerate(taken) if all(high + 4 < a or b + 4 < low for a, b in its))
                self.lanes[gutter, source] = lane = next(free, len(taken))
                taken += [[]] * (lane == len(taken))
                taken[lane] = [*taken[lane], (low, high)]
            self.widths[gutter] = len(taken)

    def _place_columns(self) -> None:
        """The sides of columns, and the first lane of each gutter: labels of loops are left of it, others right."""
        labels: dict[tuple[str, int], float] = defaultdict(float)
        for link in self.links:
            kind, column = link.way if link.way in ("loop", "next") else "in", self.cells[link.target][0]
            labels[kind, column] = max(labels[kind, column], self.nodes[link.source].label + HEAD + LANE)
        self.left, self.right, self.lane_x = [], [], []
        x = 0.0
        for c in range(self.columns):
            x += labels["loop", c - 1]
            self.lane_x.append(x + LANE)
            x += LANE * (self.widths.get(c, 0) + 1) * (c > 0) + labels["in", c]
            here = [self.nodes[number].width for number, (column, _) in self.cells.items() if column == c]
            self.left.append(x)
            x += max([*here, 2 * labels["next", c]])
            self.right.append(x)
        x += labels["loop", self.columns - 1]
        self.lane_x.append(x + LANE)
        self.width = x + LANE * self.widths.get(self.columns, 0)

    def _box(self, number: int) -> Box:
        column, row = self.cells[number]
        top, height = self.middles[row] - self.up[number], self.up[number] + self.down[number]
        return Box(self.left[column], top, self.right[column] - self.left[column], height)

    def _arrow(self, i: int, boxes: Mapping[int, Box]) -> Arrow:
        link = self.links[i]
        source, target = boxes[link.source], boxes[link.target]
        row, to = self.cells[link.source][1], self.cells[link.target][1]
        if link.way == "next":
            x, down = source.x + source.width / 2, row < to
            start, end = (source.y + source.height, target.y) if down else (source.y, target.y + target.height)
            label = (x + LANE / 2 + 1, self.row_tops[row + down] - GAP / 2)
            return Arrow(link.source, link.target, [(x, start), (x, end)], label, "left")
        points, end = [(source.x + source.width, self.middles[row])], self.middles[to] + self.ends[i]
        for gutter, before, after in self._turns(i):
            x = self.lane_x[gutter] + LANE * self.lanes[gutter, link.source]
            points += [(x, before), (x, after)]
        if link.way == "loop":
            x = target.x + target.width
            return Arrow(link.source, link.target, [*points, (x, end)], (x + HEAD, end - LABEL / 2 - 1), "left")
        label = (target.x - HEAD, end - LABEL / 2 - 1)
        return Arrow(link.source, link.target, [*points, (target.x, end)], label, "right")
