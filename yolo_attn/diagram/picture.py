"""The graph of a model's layers as a picture: `draw_graph`."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from matplotlib.path import Path as Line
from matplotlib.textpath import text_to_path
from torch import nn

from ..files import replace_bytes
from ..registry import suggest
from .grid import Node
from .layers import Layer, read
from .layout import Arrow, Box, Plan, plan

DPI = 150
MOST_PIXELS = 30_000  # of a side; Agg takes 65,535
FONT = "DejaVu Sans"  # comes with matplotlib
NAME, SMALL, TITLE = 8.0, 6.5, 10.0  # points
WIDEST, WIDEST_NAME = 150.0, 230.0  # points, of a line of arguments and a name
MOST_LINES = 2  # of arguments
PAD, MARGIN, RADIUS = 6.0, 14.0, 4.0  # points
NUMBER = 17.0  # points, for the number of a row
RC: Any = {
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "ps.fonttype": 42,
    "text.hinting": "none",  # so that texts are as wide as they were measured
    "text.parse_math": False,
    "text.usetex": False,
    "path.sketch": None,
}
FACES = {"image": "white", "backbone": "#dce8f4", "head": "#e3efda", "registered module": "#ffcf87"}
EDGES = {"image": "#666666", "backbone": "#4f7299", "head": "#648a4c", "registered module": "#b86200"}
PANELS = {"backbone": "#f6f9fc", "head": "#f8fbf5"}
TIMES = "\N{MULTIPLICATION SIGN}"
LINE, TEXT, FAINT, FAINTER = "#555555", "#1a1a1a", "#767676", "#bbbbbb"


def draw_graph(
    model: str | os.PathLike | Mapping[str, Any] | nn.Module, out: str | os.PathLike = "graph.png", imgsz: int = 640
) -> Path:
    """Draw the layers of a model: a box for each row, and arrows with channels x height x width of what they carry.

    Rows of registered modules are highlighted. Modules, repeats and arguments are those of the rows; channels, heights
    and widths are those that the model has at its scale, with images of imgsz x imgsz pixels.

    Args:
        model: A model YAML or its name, as `yolo train` takes it (yolov8n-dattn.yaml), a checkpoint (.pt), a model
            dictionary, or a model, which stays as it is.
        out: File for the picture, in the place of one of that name; its ending says the format: png, svg, pdf, say.
        imgsz: Size of the images in pixels, a multiple of the model's stride.

    Returns:
        The path of the picture.

    Raises:
        ValueError: If an argument is not possible, or the model can't be built or can't run; the message names the row.
        FileNotFoundError: If there is no such model, which is not downloaded, or no folder for the picture.
    """
    path, file = _picture(out), io.BytesIO()
    name, layers = read(model, imgsz)
    with rc_context(RC):
        figure = draw(name, layers)
        dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=dpi)
    replace_bytes(path, file.getvalue())
    return path


def _picture(out: str | os.PathLike) -> Path:
    """The path of the picture, whose ending and folder must be possible."""
    path, formats = Path(out), [each for each in FigureCanvasBase.get_supported_filetypes() if each != "pgf"]  # by TeX
    if path.is_dir():
        raise ValueError(f"out: {path} is a folder. Write out={path / 'graph.png'}, say.")
    if path.suffix[1:].lower() not in formats:
        raise ValueError(
            f"out: {path} must end in one of {', '.join(formats)}.{suggest(path.suffix[1:], formats)} "
            f"Write out={path.stem}.png, say."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out: there is no folder {path.parent}. Make it first.")
    return path


def draw(name: str, layers: Sequence[Layer]) -> Figure:
    """The picture of an image and layers; row 10 has the id row-10, an arrow from it to row 12 arrow-10-12."""
    image, lines, sizes = layers[0], [_lines(layer) for layer in layers], {each.number: size(each) for each in layers}
    laid = plan(list(_nodes(layers, lines)))
    title = f"{name}, {sizes[image.number]}"
    bands = {level: f"stride {(_height(image) or level) / level:g}" for level, _, _ in laid.bands}
    side = max(_width(each, SMALL) for each in bands.values()) + 2.5 * PAD
    kinds = [kind for kind in FACES if kind in map(_kind, layers[1:])]
    legend = sum(_width(kind, NAME) + 5 * NAME for kind in kinds)
    width = max(laid.width + side, _width(title, TITLE, bold=True), legend) + 2 * MARGIN
    above = MARGIN + 2.2 * TITLE + 2 * NAME
    height = above + laid.height + 3 * MARGIN + 2 * NAME
    figure = Figure(figsize=(width / 72, height / 72))
    left = -MARGIN - side
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, left + width), ylim=(height - above, -above))
    axes.axis("off")
    axes.text(-side, MARGIN - above, title, size=TITLE, weight="bold", va="top", family=FONT, color=TEXT)
    _draw_ground(axes, laid, bands, side)
    for layer, its in zip(layers, lines, strict=True):
        _draw_box(axes, layer, laid.boxes[layer.number], its)
    for arrow in laid.arrows:
        _draw_arrow(axes, arrow, sizes[arrow.source])
    figure.legend(
        [Patch(facecolor=FACES[kind], edgecolor=EDGES[kind]) for kind in kinds],
        kinds,
        prop=FontProperties(family=FONT, size=NAME),
        loc="lower left",
        bbox_to_anchor=(0.7 * MARGIN / width, 0.5 * MARGIN / height),
        ncols=len(kinds),
        frameon=False,
    )
    return figure


def size(layer: Layer) -> str:
    """What a layer puts out, as arrows say it: "256 x 20 x 20", with the sign for times."""
    its = layer.size[0] if isinstance(layer.size, list) and len(layer.size) == 1 else layer.size
    return f"{len(its)} maps" if isinstance(its, list) else f" {TIMES} ".join(map(str, its or ()))


def _height(layer: Layer) -> int | None:
    """Height of the map of a layer that puts out one."""
    return layer.size[1] if isinstance(layer.size, tuple) and len(layer.size) == 3 else None


def _kind(layer: Layer) -> str:
    if layer.number < 0:
        return "image"
    return "registered module" if layer.registered else layer.part


def _nodes(layers: Sequence[Layer], lines: Sequence[Sequence[str]]) -> Iterator[Node]:
    levels: dict[int, int] = {}
    parts = list(dict.fromkeys(layer.part for layer in layers))
    for layer, (name, *args) in zip(layers, lines, strict=True):
        levels[layer.number] = level = _height(layer) or levels[layer.sources[0]]
        width = max([_width(name, NAME, bold=True), *(_width(each, SMALL) for each in args)]) + NUMBER + 2 * PAD
        alone = layer is layers[-1] and not _height(layer) and len(layer.sources) > 1
        height, label = sum(_line_heights([name, *args])) + 1.4 * PAD, _width(size(layer), SMALL)
        yield Node(layer.number, parts.index(layer.part), level, layer.sources, width, height, label, alone)


def _line_heights(lines: Sequence[str]) -> list[float]:
    return [1.35 * NAME, *[1.3 * SMALL] * (len(lines) - 1)]


def _lines(layer: Layer) -> list[str]:
    """The text in a box: the module with its repeats, and its arguments."""
    if layer.number < 0:
        return ["image"]
    times = f" {TIMES}{layer.repeats}" if layer.repeats > 1 else ""
    name = layer.module
    if _width(name + times, NAME, bold=True) > WIDEST_NAME:
        name = re.sub(r"[\w.]*\.", "", name)  # without its package
    words = _text(layer.args, top=True).split(" ") if layer.args else []
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(longer, SMALL) <= WIDEST:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1].rstrip(',')} …"]
    return [_cut(name, WIDEST_NAME, NAME, bold=True) + times, *(_cut(line, WIDEST, SMALL) for line in lines)]


def _text(value: Any, top: bool = False) -> str:
    """An argument in short."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_text, value))
        return inner if top else f"[{inner}]"
    return " ".join(str(value).split())


def _cut(text: str, width: float, size: float, bold: bool = False) -> str:
    """A text, with an ellipsis where it would be wider than `width`."""
    if _width(text, size, bold) <= width:
        return text
    while text and _width(f"{text}…", size, bold) > width:
        text = text[:-1]
    return f"{text}…"


@lru_cache(4096)
def _width(text: str, size: float, bold: bool = False) -> float:
    """Width of a text in points."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _draw_ground(axes: Axes, laid: Plan, bands: Mapping[int, str], side: float) -> None:
    """What lies below the boxes: a panel for each part, and a line and the stride for each band."""
    for (left, right), name in zip(laid.parts, PANELS, strict=False):
        panel = Rectangle((left - PAD, 0), right - left + 2 * PAD, laid.height + PAD, color=PANELS[name], zorder=0)
        axes.add_patch(panel).set_linewidth(0)
        axes.text(left, -PAD, name, size=NAME, weight="bold", va="bottom", family=FONT, color=EDGES[name])
    for level, top, bottom in laid.bands:
        if top > laid.bands[0][1]:
            axes.plot([-side, laid.width], [top, top], ":", color=FAINTER, linewidth=0.6, zorder=0.5)
        axes.text(-side, (top + bottom) / 2, bands[level], size=SMALL, va="center", family=FONT, color=FAINT)


def _draw_box(axes: Axes, layer: Layer, box: Box, lines: Sequence[str]) -> None:
    kind, heights = _kind(layer), _line_heights(lines)
    shape = FancyBboxPatch((box.x, box.y), box.width, box.height, f"round,pad=0,rounding_size={RADIUS - 1}", zorder=2)
    shape.set(facecolor=FACES[kind], edgecolor=EDGES[kind], linewidth=0.9, gid=_id(layer.number, "row-"))
    axes.add_patch(shape)
    x, y = box.x + PAD, box.y + (box.height - sum(heights)) / 2
    if layer.number >= 0:
        middle = y + heights[0] / 2
        axes.text(x, middle, str(layer.number), size=SMALL, va="center_baseline", family=FONT, color=FAINT, zorder=3)
        x += NUMBER
    for line, (text, height) in enumerate(zip(lines, heights, strict=True)):
        said = axes.text(x, y + height / 2, text, size=SMALL, va="center_baseline", family=FONT, color=TEXT, zorder=3)
        if line == 0:
            said.set(size=NAME, weight="bold")
        y += height


def _draw_arrow(axes: Axes, arrow: Arrow, label: str) -> None:
    name = f"{_id(arrow.source)}-{arrow.target}"
    line = FancyArrowPatch(path=_rounded(arrow.points), arrowstyle="-|>", mutation_scale=6.5, zorder=1)
    line.set(color=LINE, linewidth=0.9, capstyle="butt", joinstyle="miter", gid=f"arrow-{name}")
    axes.add_patch(line)
    said = axes.text(*arrow.label, label, size=SMALL, va="center", family=FONT, color=TEXT, zorder=3)
    said.set(ha=arrow.align, gid=f"label-{name}")


def _id(number: int, prefix: str = "") -> str:
    return f"{prefix}{number}" if number >= 0 else "image"


def _rounded(points: Sequence[tuple[float, float]]) -> Line:
    """A line through points, round at its corners."""
    found, codes = [points[0]], [Line.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        for other in (before, after):
            length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])  # one of the two is 0
            part = min(RADIUS, length / 2) / length if length else 0
            near = (corner[0] + part * (other[0] - corner[0]), corner[1] + part * (other[1] - corner[1]))
            found += [near] if other is before else [corner, near]
            codes += [Line.LINETO] if other is before else [Line.CURVE3, Line.CURVE3]
    return Line([*found, points[-1]], [*codes, Line.LINETO])
