"""bench.png: time against the size of the map, one line per module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .timing import Row

DPI = 150
MARKS = "osD^v"


def slope(rows: Sequence[Row], key: str) -> float:
    """Exponent p of the fit time ~ (H W)^p."""
    pixels = [row["height"] * row["width"] for row in rows]
    return float(np.polyfit(np.log(pixels), np.log([row[key] for row in rows]), 1)[0])


def draw(rows: Sequence[Row], file: BinaryIO) -> None:
    """Write the picture: forward at the left, step at the right; published forms dashed."""
    maps = ", ".join(dict.fromkeys(f"{row['level']} ({row['channels']} channels)" for row in rows))
    figure = Figure(figsize=(16, 2 + 0.28 * max(len({row["name"] for row in rows}), 18)), layout="constrained")
    for axes, mode in zip(figure.subplots(1, 2), ("forward", "step"), strict=True):
        for number, name in enumerate(dict.fromkeys(row["name"] for row in rows)):
            shade = 2 * (number % 10) + number // 10 % 2  # the ten strong colours, and then the pale ones
            style = {"color": matplotlib.colormaps["tab20"](shade), "marker": MARKS[number // 20 % len(MARKS)]}
            for prefix, line in (("", "-"), ("published_", ":")):
                key = f"{prefix}{mode}_ms"
                known = [row for row in rows if row["name"] == name and key in row]
                if not known:
                    continue
                fit = f" {slope(known, key):.2f}" if len(known) > 1 else ""
                label = f"{name}{fit}" if not prefix else None
                x = [row["height"] * row["width"] for row in known]
                axes.loglog(x, [row[key] for row in known], line, label=label, markersize=4, linewidth=1.2, **style)
        ticks = sorted({row["height"] * row["width"] for row in rows})
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.set(xlabel="pixels of the map, H x W", ylabel="ms", title=mode)
        axes.grid(alpha=0.3)
        if axes.lines:
            named = sorted(
                zip(*axes.get_legend_handles_labels(), strict=True), key=lambda pair: -pair[0].get_ydata()[-1]
            )
            axes.legend(
                *zip(*named, strict=True),  # from slow to fast, as the lines end
                fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), title="slope s: time ~ (H W)^s",
            )  # fmt: skip
    figure.suptitle(f"{maps}; dotted: published form")
    figure.savefig(file, dpi=DPI)
