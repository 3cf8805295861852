"""The graph of a model's layers as a picture: `draw_graph`."""

from __future__ import annotations

import io
import os
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

from ..comparison.results import replace_bytes
from ..registry import suggest
from .grid import Node
from .layers import Layer, read
from .layout import Arrow, Box, Plan, plan

DPI = 150
MOST_PIXELS = 30_000  # of a side; Agg takes 65,535
FONT = "DejaVu Sans"  # comes with matplotlib
NAME, SMALL, TITLE = 8.0, 6.5, 10.0  # points
WIDEST = 150.0  # points, of a line of arguments
MOST_LINES = 2  # of arguments
PAD, MARGIN, RADIUS = 6.0, 14.0, 4.0  # points
NUMBER = 17.0  # points, for the number of a row
RC = {"pdf.fonttype": 42, "text.usetex": False, "text.parse_math": False, "path.sketch": None}  # whole fonts in a PDF
FACES = {"image": "white", "backbone": "#dce8f4", "head": "#e3efda", "registered module": "#ffcf87"}
EDGES = {"image": "#666666", "backbone": "#4f7299", "head": "#648a4c", "registered module": "#b86200"}
PANELS = {"backbone": "#f6f9fc", "head": "#f8fbf5"}
TIMES = "\N{MULTIPLICATION SIGN}"
LINE, TEXT, FAINT = "#555555", "#1a1a1a", "#767676"


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
    path, formats = Path(out), FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(
            f"out: {path} must end in one of {', '.join(formats)}.{suggest(path.suffix[1:], formats)} "
            f"Write out={path.with_suffix('.png').name}, say."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out: there is no folder {path.parent}. Make it first.")
    return path


def draw(name: str, layers: Sequence[Layer]) -> Figure:
    """The picture of layers; what stands for row 10 has the id row-10, for an arrow from it to 12 arrow-10-12."""
    lines = {layer.number: _lines(layer) for layer in layers}
    laid = plan(list(_nodes(layers, lines)))
    kinds = [kind for kind in FACES if kind in {_kind(layer) for layer in layers} - {"image"}]
    title, (image,) = f"{name}, {sizes_text(layers[0])}", [layer for layer in layers if layer.number < 0]
    bands = {level: f"stride {image.size[1] / level:g}" for level, _, _ in laid.bands}
    side = max(_width(each, SMALL) for each in bands.values()) + 2.5 * PAD
    legend = sum(_width(kind, NAME) + 40 for kind in kinds)
    width = max(laid.width + side, _width(title, TITLE), legend) + 2 * MARGIN
    top = MARGIN + 2.2 * TITLE + 2 * NAME
    height = top + laid.height + 3 * MARGIN + 2 * NAME
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-MARGIN - side, width - MARGIN - side), ylim=(height - top, -top))
    axes.axis("off")
    axes.text(-side, MARGIN - top, title, size=TITLE, weight="bold", va="top", family=FONT, color=TEXT)
    _draw_ground(axes, laid, bands, side)
    for layer in layers:
        _draw_box(axes, layer, laid.boxes[layer.number], lines[layer.number])
    for arrow in laid.arrows:
        _draw_arrow(axes, arrow, sizes_text(next(layer for layer in layers if layer.number == arrow.source)))
    handles = [Patch(facecolor=FACES[kind], edgecolor=EDGES[kind], label=kind) for kind in kinds]
    font = FontProperties(family=FONT, size=NAME)
    place = ((MARGIN - 4) / width, MARGIN / 2 / height)
    figure.legend(handles=handles, loc="lower left", ncols=len(kinds), frameon=False, prop=font, bbox_to_anchor=place)
    return figure


def sizes_text(layer: Layer) -> str:
    """What a layer puts out, as arrows say it: "256 x 20 x 20", with the sign for times."""
    if isinstance(layer.size, list) and len(layer.size) != 1:
        return f"{len(layer.size)} maps"
    size = layer.size[0] if isinstance(layer.size, list) else layer.size
    return f" {TIMES} ".join(map(str, size or ()))


def _kind(layer: Layer) -> str:
    if layer.number < 0:
        return "image"
    return "registered module" if layer.registered else layer.part


def _nodes(layers: Sequence[Layer], lines: Mapping[int, Sequence[str]]) -> Iterator[Node]:
    levels: dict[int, int] = {}
    parts = list(dict.fromkeys(layer.part for layer in layers))
    for layer in layers:
        number, is_map = layer.number, isinstance(layer.size, tuple) and len(layer.size) == 3
        levels[number] = layer.size[1] if is_map else levels[layer.sources[0]]
        name, *args = lines[number]
        width = max([_width(name, NAME, bold=True), *(_width(each, SMALL) for each in args)]) + NUMBER + 2 * PAD
        height = 1.35 * NAME + 1.3 * SMALL * len(args) + 1.4 * PAD
        alone = layer is layers[-1] and not is_map and len(layer.sources) > 1
        label = _width(sizes_text(layer), SMALL)
        yield Node(number, parts.index(layer.part), levels[number], layer.sources, width, height, label, alone)


def _lines(layer: Layer) -> list[str]:
    """The text in a box: the module with its repeats, and its arguments."""
    if layer.number < 0:
        return ["image"]
    times = f" {TIMES}{layer.repeats}" if layer.repeats > 1 else ""
    name = layer.module
    if _width(name + times, NAME, bold=True) > WIDEST:
        name = name.rpartition(".")[2]
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
    return [_cut(name, WIDEST, NAME) + times, *(_cut(line, WIDEST + 10, SMALL) for line in lines)]


def _text(value: Any, top: bool = False) -> str:
    """An argument in short."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        inner = (", " if top else ",").join(map(_text, value))
        return inner if top else f"[{inner}]"
    return " ".join(str(value).split())


def _cut(text: str, width: float, size: float) -> str:
    """A text that is no wider than `width`, with an ellipsis where something is left out."""
    if _width(text, size, bold=True) <= width:
        return text
    while text and _width(text + "…", size, bold=True) > width:
        text = text[:-1]
    return text + "…"


@lru_cache(4096)
def _width(text: str, size: float, bold: bool = False) -> float:
    """Width of a text in points."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _draw_ground(axes: Axes, laid: Plan, bands: Mapping[int, str], side: float) -> None:
    """What lies below the boxes: a panel for each part, and a line and the stride for each band."""
    for (left, right), name in zip(laid.parts, PANELS, strict=False):
        axes.add_patch(
            Rectangle(
                (left - PAD, 0), right - left + 2 * PAD, laid.height + PAD, color=PANELS[name], linewidth=0, zorder=0
            )
        )
        axes.text(left, -PAD, name, size=NAME, weight="bold", va="bottom", family=FONT, color=EDGES[name])
    for level, top, bottom in laid.bands:
        if top > laid.bands[0][1]:
            axes.plot([-side, laid.width], [top, top], ":", color="#c4c4c4", linewidth=0.6, zorder=0.5)
        axes.text(
            -side,
            (top + bottom) / 2,
            bands[level],
            size=SMALL,
            va="center",
            family=FONT,
            color=FAINT,
            gid=f"band-{level}",
        )


def _draw_box(axes: Axes, layer: Layer, box: Box, lines: Sequence[str]) -> None:
    kind = _kind(layer)
    name = f"row-{layer.number}" if layer.number >= 0 else "image"
    shape = f"round,pad=0,rounding_size={RADIUS - 1}"
    style = {"facecolor": FACES[kind], "edgecolor": EDGES[kind], "linewidth": 0.9, "zorder": 2, "gid": name}
    axes.add_patch(FancyBboxPatch((box.x, box.y), box.width, box.height, shape, **style))
    heights = [1.35 * NAME, *[1.3 * SMALL] * (len(lines) - 1)]
    y, x = box.y + (box.height - sum(heights)) / 2, box.x + PAD
    if layer.number >= 0:
        axes.text(x, y + heights[0] / 2, str(layer.number), size=SMALL, va="center_baseline", family=FONT, color=FAINT)
        x += NUMBER
    for line, (text, height) in enumerate(zip(lines, heights, strict=True)):
        bold = {"size": NAME, "weight": "bold", "color": TEXT} if not line else {"size": SMALL, "color": "#444444"}
        axes.text(x, y + height / 2, text, va="center_baseline", family=FONT, zorder=3, **bold)
        y += height


def _draw_arrow(axes: Axes, arrow: Arrow, label: str) -> None:
    name = f"{arrow.source}-{arrow.target}".replace("-1-", "image-")
    style = {"color": LINE, "linewidth": 0.9, "mutation_scale": 6.5, "capstyle": "butt", "joinstyle": "miter"}
    axes.add_patch(
        FancyArrowPatch(path=_rounded(arrow.points), arrowstyle="-|>", zorder=1, gid=f"arrow-{name}", **style)
    )
    x, y = arrow.label
    kind = {"size": SMALL, "ha": arrow.align, "va": "center", "family": FONT, "color": TEXT, "zorder": 3}
    axes.text(x, y, label, gid=f"label-{name}", **kind)


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
