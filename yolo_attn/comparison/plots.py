"""The pictures of a comparison: differences with their intervals, accuracy against latency, and curves over epochs.

A model has one colour in all of them: the baseline black, a control that of its candidate, with hollow marks.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .summary import SCORE, Comparison

Row = Mapping[str, Any]
DPI = 150


def draw_summary(comparison: Comparison, rows: Sequence[Row], path: Path) -> None:
    """Write summary.png: a forest plot of the differences beside accuracy against latency."""
    figure = Figure(figsize=(13, 2 + 0.4 * max(len(rows), 8)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    styles = _styles(comparison)
    _forest(left, rows, styles, comparison.baseline)
    _accuracy_latency(right, rows, styles)
    figure.savefig(path, dpi=DPI)


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Write curves.png: the score on val after each epoch, mean and range over seeds."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for name, style in _styles(comparison).items():
        runs = [epochs for row in comparison.runs(name) if (epochs := _epochs(comparison, row))]
        if not runs:
            continue
        values = 100 * np.array([run[: min(map(len, runs))] for run in runs])
        x, dashed = range(1, values.shape[1] + 1), style["markerfacecolor"] == "white"
        axes.plot(x, values.mean(0), "--" if dashed else "-", label=name, color=style["color"])
        axes.fill_between(x, values.min(0), values.max(0), color=style["color"], alpha=0.1, linewidth=0)
    axes.set(xlabel="epoch", ylabel=f"{SCORE} on val, %", title="mean and range over seeds")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=DPI)


def draw_pooled(rows: Sequence[Row], data: Sequence[str], baseline: str, path: Path) -> None:
    """Write the forest plot of several data sets: each, and all together."""
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(rows) * (len(data) + 1)), layout="constrained")
    axes = figure.subplots()
    labels: list[str] = []
    for number, row in enumerate(rows):
        for name, each in zip([*data, "all"], [*row["by_data"], row], strict=True):
            y, pooled, colour = len(labels), name == "all", _cycle(number)
            _interval(axes, y, each["low"], each["high"], colour, 4 if pooled else 1.5)
            axes.plot(100 * each["difference"], y, "D" if pooled else "o", color=colour)
            labels.append(f"{row['model']}, {name}")
    _finish_forest(axes, labels, baseline)
    axes.set_title("95 % intervals over seeds; thick: all data sets")
    figure.savefig(path, dpi=DPI)


def _forest(axes: Axes, rows: Sequence[Row], styles: Mapping[str, dict[str, Any]], baseline: str) -> None:
    """Differences to the baseline with the interval over seeds, thick, and that over images, thin."""
    shown = [row for row in rows if row["difference"] is not None]
    for y, row in enumerate(shown):
        style = styles[row["model"]]
        _interval(axes, y, row["low"], row["high"], style["color"], 5)
        _interval(axes, y + 0.2, row["image_low"], row["image_high"], style["color"], 1)
        axes.plot(100 * row["difference"], y, "o", **style)
    _finish_forest(axes, [row["model"] for row in shown], baseline)
    axes.set_title("95 % intervals: thick over seeds, thin over images")


def _interval(axes: Axes, y: float, low: float | None, high: float | None, colour: str, width: float) -> None:
    if low is not None and high is not None and not np.isnan(low):
        axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=width, alpha=0.5, solid_capstyle="butt")


def _finish_forest(axes: Axes, labels: Sequence[str], baseline: str) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"{SCORE}, points to {baseline}")
    axes.grid(axis="x", alpha=0.3)


def _accuracy_latency(axes: Axes, rows: Sequence[Row], styles: Mapping[str, dict[str, Any]]) -> None:
    """Accuracy against latency, with the models that no other beats in both."""
    known = [row for row in rows if row[SCORE] is not None and row["latency_ms"] is not None]
    for row in known:
        x, y, spread = row["latency_ms"], 100 * row[SCORE], 100 * (row["sd"] or 0)
        axes.errorbar(x, y, yerr=spread, fmt="o", label=row["model"], elinewidth=1, **styles[row["model"]])
    front = sorted((row["latency_ms"], 100 * row[SCORE]) for row in known if not _beaten(row, known))
    if front:
        # one model alone makes no line, but a ring
        rings: dict[str, Any] = {"marker": "o", "markersize": 13, "markerfacecolor": "none"}
        axes.plot(*zip(*front, strict=True), color="tab:red", linewidth=1, label="Pareto front", zorder=0, **rings)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(xlabel="latency, ms", ylabel=f"{SCORE}, %", title="mean ± standard deviation over seeds")
    axes.grid(alpha=0.3)


def _beaten(row: Row, rows: Sequence[Row]) -> bool:
    """Whether another model is no slower and no less accurate, and better in one of the two."""
    mine = row["latency_ms"], -row[SCORE]
    return any(
        theirs != mine and theirs[0] <= mine[0] and theirs[1] <= mine[1]
        for theirs in ((other["latency_ms"], -other[SCORE]) for other in rows)
    )


def _styles(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Colour and marks of each model."""
    colours = {comparison.baseline: "black"} | {name: _cycle(i) for i, name in enumerate(comparison.candidates)}
    styles = {}
    for model in comparison.models:
        colour = colours[model["of"] if model["role"] == "control" else model["name"]]
        hollow = model["role"] == "control"
        styles[model["name"]] = {"color": colour, "markerfacecolor": "white" if hollow else colour}
    return styles


def _cycle(number: int) -> Any:
    return matplotlib.colormaps["tab10"](number % 10)


def _epochs(comparison: Comparison, row: Row) -> list[float] | None:
    """The score on val after each epoch of a run."""
    path = comparison.folder / "runs" / row["model"] / f"seed{row['seed']}" / "epochs.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    columns = [name for name in (table[0] if table else ()) if f"{SCORE}(" in name]
    return [float(line[columns[-1]]) for line in table] if columns else None  # masks and poses come after boxes
