"""Pictures of what a module looks at, over the image with its detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from .geometry import Letterbox
from .looks import Boxes, Look, Points, Weights

DPI = 150
WIDTH = 6.0  # of a panel, in inches
COLOURS = "plasma"
QUERY = "#00e5ff"  # unlike the colours of weights and unlike Ultralytics' boxes
MOST = 20_000  # points that are drawn one by one; of more, how much weight falls into each cell
CELLS = 64  # that side by side hold these, in each direction


def draw(
    looks: Sequence[tuple[str, Look]],
    image: np.ndarray,
    detections: np.ndarray,
    box: Letterbox,
    queries: Tensor | None,
    title: str,
) -> Figure:
    """A picture of what a module looks at in an image.

    Args:
        looks: What the module looks at, each with its name or "".
        image: The image (H, W, 3), RGB.
        detections: The same with its detections, which stand above what is drawn.
        box: How the image was made to fit into the network.
        queries: Positions (Q, 2) as (x, y) in the image of the pixels that look, None for all.
        title: Title of the picture.
    """
    scale = _scale([look for _, look in looks if isinstance(look, Points)])
    panels = [panel for name, look in looks for panel in _panels(look, name, scale)]
    if not any(panel.over_image for panel in panels):
        panels.insert(0, Panel(lambda ax, box: None, "detections"))
    if queries is None and any(panel.queried for panel in panels):
        title += ", mean over all pixels"
    above = np.dstack([detections, 255 * (detections != image).any(-1)])
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    h, w = box.image
    height = min(max(WIDTH * h / w, WIDTH / 3), 2 * WIDTH)
    figure = Figure(figsize=(columns * (WIDTH + 0.9), rows * (height + 0.5) + 0.4), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, panel in zip(axes, panels, strict=False):
        if panel.over_image:
            ax.imshow(image, extent=(0, w, h, 0))
            panel.plot(ax, box)
            ax.imshow(above, extent=(0, w, h, 0), zorder=3)  # labels can be read, whatever lies there
            if panel.queried and queries is not None:
                _mark(ax, queries)
            ax.set(xlim=(0, w), ylim=(h, 0), xticks=[], yticks=[])
        else:
            panel.plot(ax, box)
        ax.set_title(panel.name, fontsize="medium")
    if len(panels) > 1:
        figure.suptitle(title)
    else:
        axes[0].set_title(title)
    return figure


@dataclass(frozen=True)
class Panel:
    """A part of the picture: how it is drawn, under which name, over the image or not, and whether a query matters."""

    plot: Callable[[Axes, Letterbox], None]
    name: str
    over_image: bool = True
    queried: bool = False


@dataclass(frozen=True)
class Scale:
    """The least and the largest weight of the points of all panels, and what each would be if all were alike."""

    low: float
    high: float
    alike: float | None

    @property
    def largest(self) -> float:
        return max(abs(self.low), abs(self.high), float(np.finfo(np.float32).tiny))


def _scale(points: Sequence[Points]) -> Scale:
    weights = np.concatenate([np.zeros(0), *(each.weight.double().cpu() for each in points if each.weight is not None)])
    if not weights.size:
        return Scale(0.0, 0.0, None)
    return Scale(float(weights.min()), float(weights.max()), _alike(torch.from_numpy(weights)))


def _alike(weights: Tensor) -> float | None:
    """What each weight would be if all were alike; None for weights that are no shares of 1."""
    shares = bool(abs(weights.double().sum() - 1) < 1e-3 and weights.min() >= 0)
    return 1 / weights.numel() if shares else None


def _if_alike(alike: float | None) -> str:
    return "" if alike is None else f" ({alike:.3g} if all were alike)"


def _panels(look: Look, name: str, scale: Scale) -> list[Panel]:
    if isinstance(look, Points):
        return [Panel(lambda ax, box: _points(ax, box, look, scale), name, queried=True)]
    if isinstance(look, Boxes):
        return [Panel(lambda ax, box: _boxes(ax, box, look), name, queried=True)]
    if isinstance(look, Weights):
        what = f"weight of a pixel{_if_alike(_alike(look.map))}"
        return [Panel(lambda ax, box: _heat(ax, box, look.map, what), name, queried=True)]
    gate = f"{look.name}, {name}" if name else look.name
    pixels, channels, what = look.map, look.channels, look.what
    panels = []
    if pixels is not None:
        panels.append(Panel(lambda ax, box: _heat(ax, box, pixels, what, even=True), f"{gate} per pixel"))
    if channels is not None:
        panels.append(Panel(lambda ax, box: _channels(ax, channels, what), f"{gate} per channel", over_image=False))
    return panels


def _points(ax: Axes, box: Letterbox, points: Points, scale: Scale) -> None:
    """Heavy points large and on top, in colours of one scale for all panels."""
    xy = box.to_image(points.xy.double().cpu()).numpy()
    _say_beside(ax, box, xy, points.weight)
    if len(points.xy) > MOST:
        return _heat(ax, box, _density(points), f"{points.what}, summed over the cell")
    size = np.clip(8_000 / len(xy), 3, 40)
    if points.weight is None:
        ax.scatter(xy[:, 0], xy[:, 1], s=size, c="yellow", edgecolors="black", linewidths=0.3)
        return None
    weight = points.weight.float().cpu().numpy()
    order = weight.argsort()
    sizes = size * (0.25 + 1.75 * np.abs(weight[order]) / scale.largest)
    drawn = ax.scatter(
        xy[order, 0],
        xy[order, 1],
        s=sizes,
        c=weight[order],
        cmap=COLOURS,
        vmin=scale.low,
        vmax=scale.high,
        edgecolors="black",
        linewidths=0.2,
    )
    _bar(ax, drawn, f"{points.what}{_if_alike(scale.alike)}")
    return None


def _say_beside(ax: Axes, box: Letterbox, xy: np.ndarray, weight: Tensor | None) -> None:
    """Say how much can't be seen, because it is in the padding or beyond the map."""
    beside = ((xy < 0) | (xy > box.image[::-1])).any(1)
    if beside.any():
        share = ""
        if weight is not None:
            counts = weight.double().abs().cpu().numpy()
            share = f" with {counts[beside].sum() / max(counts.sum(), np.finfo(np.float32).tiny):.0%} of the weight"
        ax.set_xlabel(f"{beside.sum()} of {len(xy)} points{share} lie beside the image", fontsize="small")


def _density(points: Points) -> Tensor:
    """The weight of the points in each cell. The 4 x 4 nearest cells share a point, by a cubic B-spline: if it were in
    one of them, rows of points that lie nearly as close as those of cells would make stripes."""
    xy = points.xy.double().cpu()
    weight = xy.new_full((len(xy),), 1 / len(xy)) if points.weight is None else points.weight.double().cpu()
    seen = ((xy >= 0) & (xy <= 1)).all(1)
    cells = xy[seen] * CELLS - 0.5
    low = cells.floor()
    f = cells - low
    shares = torch.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3], -1) / 6
    index = low.long()[..., None] + torch.arange(-1, 3)  # N 2 4
    column, row = torch.where(index < 0, -1 - index, index.minimum(2 * CELLS - 1 - index)).unbind(1)  # back at the ends
    share = weight[seen, None, None] * shares[:, 1, :, None] * shares[:, 0, None]
    counts = xy.new_zeros(CELLS, CELLS)
    counts.index_put_((row[:, :, None], column[:, None]), share, accumulate=True)
    return counts


def _boxes(ax: Axes, box: Letterbox, boxes: Boxes) -> None:
    corners = box.to_image(boxes.xyxy.double().cpu().unflatten(-1, (2, 2))).flatten(-2).unbind(-1)
    x1, y1, x2, y2 = (each.numpy() for each in corners)
    outlines = np.stack([np.stack(p, -1) for p in ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))], 1)
    wide = np.clip(60 / len(outlines), 0.4, 2)
    ax.add_collection(LineCollection(list(outlines), colors="yellow", linewidths=wide))


def _heat(ax: Axes, box: Letterbox, values: Tensor, what: str, even: bool = False) -> None:
    """The cells of a map; the image shows where the values are small, or evenly."""
    shown = values.float().cpu().numpy()
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low = low if even else min(low, 0.0)
    spread = max(high - low, np.finfo(np.float32).tiny)
    alpha = 0.6 if even else np.clip(np.nan_to_num((shown - low) / spread) * 0.7, 0.1, 0.7)
    drawn = ax.imshow(
        shown,
        extent=box.frame,
        cmap=COLOURS,
        vmin=low,
        vmax=high,
        alpha=alpha,
        interpolation="nearest",
    )
    _bar(ax, drawn, what)


def _channels(ax: Axes, values: Tensor, what: str) -> None:
    shown = values.float().cpu().numpy()
    ax.axhline(1, color="0.7", linewidth=1)
    ax.plot(shown, ".", color=matplotlib.colormaps[COLOURS](0.3))
    ax.set(xlabel="channel", ylabel=what)
    ax.margins(0.02, 0.1)


def _mark(ax: Axes, queries: Tensor) -> None:
    x, y = queries.double().cpu().unbind(-1)
    ax.plot(x.numpy(), y.numpy(), "+", color="black", markersize=13, markeredgewidth=3.5, zorder=4)
    ax.plot(x.numpy(), y.numpy(), "+", color=QUERY, markersize=12, markeredgewidth=1.8, zorder=4)


def _bar(ax: Axes, drawn, label: str) -> None:
    bar = ax.figure.colorbar(matplotlib.cm.ScalarMappable(drawn.norm, drawn.cmap), ax=ax, shrink=0.8, pad=0.01)
    bar.set_label(label)
    bar.ax.tick_params(labelsize="small")
