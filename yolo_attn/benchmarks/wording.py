"""The figures of a benchmark as tables."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from .. import __version__
from ..patches import host
from .timing import Row, Setting

FIGURES = [f"{mode}_{what}" for mode in ("forward", "step") for what in ("ms", "iqr_ms", "peak_mib")]
COLUMNS = (  # of bench.csv
    *("kind", "name", "level", "channels", "height", "width", "device", "dtype", "batch", "threads", "parameters"),
    *("gflops", *FIGURES, "forward_of_product", "forward_of_limit"),
    *(f"published_{figure}" for figure in FIGURES),
    *("forward_ratio", "step_ratio", "forward_memory_ratio", "step_memory_ratio"),
    *("build_ms", "build_iqr_ms", "build_ratio"),
)
FAST, MOST = 1.5, 0.6  # times as fast as published; share of the limit that leaves little to gain


def processor(device: torch.device) -> str:
    """The name of a GPU, or of the CPU where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", errors="replace").splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def modules(rows: Sequence[Row], style: str = "github") -> str:
    """Modules: time, memory, work, and what the published form takes of each over ours."""
    return _table(
        [
            {
                "module": row["name"],
                "map": f"{row['level']} {row['channels']}x{row['height']}x{row['width']}",
                "forward ms (IQR)": _spread(row, "forward"),
                "step ms (IQR)": _spread(row, "step"),
                "peak MiB": _number(row, "forward_peak_mib", ".1f"),
                "step MiB": _number(row, "step_peak_mib", ".1f"),
                "GFLOPs": _number(row, "gflops", ".3f"),
                "of product": _number(row, "forward_of_product", ".0%"),
                "of limit": _number(row, "forward_of_limit", ".0%"),
                "published / ours: forward": _number(row, "forward_ratio", ".2f"),
                "step": _number(row, "step_ratio", ".2f"),
                "peak": _number(row, "forward_memory_ratio", ".1f"),
                "step peak": _number(row, "step_memory_ratio", ".1f"),
            }
            for row in rows
        ],
        style,
    )


def models(rows: Sequence[Row], style: str = "github") -> str:
    """Whole models, each with its ratios to the first one."""
    return _table(
        [
            {
                "model": row["name"],
                "parameters": f"{row['parameters']:,}",
                "GFLOPs": _number(row, "gflops", ".2f"),
                **{
                    key: text
                    for mode in ("forward", "step", "build")
                    for key, text in (
                        (f"{mode} ms (IQR)", _spread(row, mode)),
                        (f"{mode} ratio", _number(row, f"{mode}_ratio", ".3f")),
                    )
                },
                "peak MiB": _number(row, "forward_peak_mib", ".0f"),
                "step MiB": _number(row, "step_peak_mib", ".0f"),
            }
            for row in rows
        ],
        style,
    )


def heading(setting: Setting, rate: float) -> str:
    """Where and how was measured."""
    where = f"{processor(setting.device)}, {setting.threads} CPU thread{'s' if setting.threads > 1 else ''}"
    known = ", ".join(f"{name} {number}" for name, number in (host.versions() | {"yolo-attn": __version__}).items())
    return (
        f"{where}; {setting.dtype}{'' if setting.dtype == 'float32' else ' by autocast'}, batch {setting.batch}, "
        f"maps of yolov8n at {setting.imgsz} pixels; {known}. "
        f"A product of two square matrices of this type: {rate:,.0f} GFLOP/s."
    )


def limits(rows: Sequence[Row]) -> list[str]:
    """Why some modules are hardly faster forward than the published form; nothing where all are."""
    slow = [row for row in rows if row.get("forward_ratio", FAST) < FAST and "forward_of_limit" in row]
    at = _named(row for row in slow if row["forward_of_limit"] >= MOST)
    below = _named(row for row in slow if row["forward_of_limit"] < MOST)
    said = [f"Less than {FAST:g} times as fast forward as published (ratio, of limit):"] if slow else []
    if at:
        said.append(f"{at} reach at least {MOST:.0%} of what their matrix products and the rate of memory allow.")
    if below:
        said.append(
            f"{below} stay below {MOST:.0%} of it: functions such as exp, and calls on small maps, take the rest."
        )
    return [" ".join(said)] if said else []


def _named(rows: Iterable[Row]) -> str:
    return "; ".join(
        f"{row['name']} {row['level']} ({row['forward_ratio']:.2f}, {row['forward_of_limit']:.0%})" for row in rows
    )


def startup(ms: Mapping[str, float]) -> str:
    """What importing the plugin takes."""
    return (
        f"`from ultralytics import YOLO` takes {ms['ultralytics']:.0f} ms in a fresh process, with `import yolo_attn` "
        f"{ms['yolo_attn']:.0f} ms: {ms['yolo_attn'] - ms['ultralytics']:+.0f} ms (medians, in turn)."
    )


NOTES = """\
Forward: without gradients, in eval mode. Step: forward and backward in training mode, with gradients of inputs and
parameters; of whole models with the loss, without the optimizer. Whole models predict in the given type itself, without
autocast, and fused, as Ultralytics does. Times are medians with interquartile ranges. What is
compared runs in turn, in random order in each round, and a ratio is the median of the ratios of all rounds.

Peak: memory of tensors beyond inputs and parameters. GFLOPs: those that `yolo-attn compare` counts. Of product: GFLOPs
over the time of a forward, as a share of the rate of the matrix product in the same rounds. Of limit: the time that the
products of matrices and the convolutions of a forward take by themselves, of random numbers; those inside attention, at
the rate of the matrix product; and that what all other operations read and write takes at the rate at which a large
matrix is copied, as a share of the time of a forward. It is more than 100% where these find their numbers in a cache.
Published: the same mechanism with the same parameters in the way in which the authors' code computes it
(yolo_attn/benchmarks/published); empty where there is no such form, or no room in memory. SIFA: clips of 4 frames."""


def markdown(command: str, parts: Sequence[str]) -> str:
    """The content of bench.md."""
    return "\n\n".join(["# Benchmarks", f"`{command}`", *parts, NOTES]) + "\n"


def _table(lines: list[dict[str, Any]], style: str) -> str:
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def _spread(row: Row, mode: str) -> str:
    if f"{mode}_ms" not in row:
        return ""
    return f"{significant(row[f'{mode}_ms'])} ({significant(row[f'{mode}_iqr_ms'])})"


def _number(row: Row, key: str, form: str) -> str:
    return format(row[key], form) if key in row else ""


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.1 else f"{value:.3f}"
