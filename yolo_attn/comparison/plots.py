"""The pictures of a comparison: differences with their intervals, accuracy against latency, and curves over epochs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .summary import SCORE, Comparison

Row = Mapping[str, Any]
DPI = 150
COLOURS = {"baseline": "black", "candidate": "tab:blue", "control": "tab:gray"}


def draw_summary(rows: Sequence[Row], baseline: str, path: Path) -> None:
    """Write summary.png: a forest plot of the differences beside accuracy against latency."""
    figure = Figure(figsize=(12, 1.6 + 0.42 * max(len(rows), 6)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _forest(left, rows, baseline)
    _accuracy_latency(right, rows)
    figure.savefig(path, dpi=DPI)


def draw_pooled(rows: Sequence[Row], data: Sequence[str], baseline: str, path: Path) -> None:
    """Write the forest plot of several data sets: each, and all together."""
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(rows) * (len(data) + 2)), layout="constrained")
    axes = figure.subplots()
    labels: list[str] = []
    for row in rows:
        for name, each in zip([*data, "all"], [*row["by_data"], row], strict=True):
            y, bold = len(labels), name == "all"
            if not np.isnan(each["low"]):
                limits = [100 * each["low"], 100 * each["high"]]
                axes.plot(limits, [y, y], color=COLOURS[row["role"]], linewidth=4 if bold else 1.5, alpha=0.5)
            axes.plot(100 * each["difference"], y, "D" if bold else "o", color=COLOURS[row["role"]])
            labels.append(f"{row['model']}, {name}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=f"{SCORE}, points to {baseline}", title="95 % intervals over seeds")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=DPI)


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Write curves.png: the score on val after each epoch, mean and range over seeds."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for model in comparison.models:
        runs = [r for row in comparison.runs(model["name"]) if (r := _epochs(comparison, row)) is not None]
        if not runs:
            continue
        length = min(map(len, runs))
        values = 100 * np.array([run[:length] for run in runs])
        style = "--" if model["role"] == "control" else "-"
        colour = "black" if model["role"] == "baseline" else None
        (line,) = axes.plot(range(1, length + 1), values.mean(0), style, label=model["name"], color=colour)
        axes.fill_between(
            range(1, length + 1), values.min(0), values.max(0), color=line.get_color(), alpha=0.12, linewidth=0
        )
    axes.set(xlabel="epoch", ylabel=f"{SCORE} on val, %", title="mean and range over seeds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=DPI)


def _forest(axes: Axes, rows: Sequence[Row], baseline: str) -> None:
    """Differences to the baseline with the interval over seeds, thick, and that over images, thin."""
    shown = [row for row in rows if row["difference"] is not None]
    for y, row in enumerate(shown):
        colour = COLOURS[row["role"]]
        if row["image_low"] is not None:
            axes.plot([100 * row["image_low"], 100 * row["image_high"]], [y, y], color=colour, linewidth=1)
        if row["low"] is not None:
            axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, linewidth=4, alpha=0.5)
        axes.plot(100 * row["difference"], y, "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [row["model"] for row in shown])
    axes.invert_yaxis()
    axes.set(xlabel=f"{SCORE}, points to {baseline}", title="95 % intervals: thick over seeds, thin over images")
    axes.grid(axis="x", alpha=0.3)


def _accuracy_latency(axes: Axes, rows: Sequence[Row]) -> None:
    """Accuracy against latency, with the models that no other beats in both."""
    known = [row for row in rows if row[SCORE] is not None and row["latency_ms"] is not None]
    for row in known:
        axes.errorbar(
            row["latency_ms"], 100 * row[SCORE], yerr=100 * (row["sd"] or 0), fmt="o", color=COLOURS[row["role"]]
        )
        axes.annotate(
            row["model"],
            (row["latency_ms"], 100 * row[SCORE]),
            (5, 5),
            textcoords="offset points",
            fontsize="small",
        )
    front = sorted((row["latency_ms"], 100 * row[SCORE]) for row in known if not _beaten(row, known))
    if front:
        axes.plot(*zip(*front, strict=True), color="tab:red", linewidth=1, label="Pareto front", zorder=0)
        axes.legend(fontsize="small")
    axes.margins(x=0.25)
    axes.set(xlabel="latency, ms", ylabel=f"{SCORE}, %", title="mean ± standard deviation over seeds")
    axes.grid(alpha=0.3)


def _beaten(row: Row, rows: Sequence[Row]) -> bool:
    """Whether another model is faster and no less accurate, or as fast and more accurate."""
    return any(
        other["latency_ms"] <= row["latency_ms"]
        and other[SCORE] >= row[SCORE]
        and (other["latency_ms"], other[SCORE]) != (row["latency_ms"], row[SCORE])
        for other in rows
    )


def _epochs(comparison: Comparison, row: Row) -> list[float] | None:
    """The score on val after each epoch of a run."""
    path = comparison.folder / "runs" / row["model"] / f"seed{row['seed']}" / "epochs.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    columns = [name for name in (table[0] if table else ()) if f"{SCORE}(" in name]
    return [float(line[columns[-1]]) for line in table] if columns else None  # masks and poses come after boxes
