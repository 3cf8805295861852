"""A comparison in words and tables: summary.md, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from . import stats
from .formats import NONE, count, interval, number, p_value, percent, spread
from .remarks import remarks
from .summary import SCORE, Comparison

Row = Mapping[str, Any]


def markdown(comparison: Comparison, rows: Sequence[Row]) -> str:
    """The content of summary.md."""
    c = comparison
    parts = [
        f"# {c.folder.name}: {len(c.models)} models, {c.arguments['seeds']} seeds",
        f"`{c.arguments['command']}`",
        _recipe(c),
        table(c, rows),
        _notes(c, rows),
        "\n".join(f"- {each}" for each in remarks(c, rows)),
        "## Cost\n\n" + costs(c, rows) + "\n\n" + _cost_notes(c),
        "## By split, class and size\n\n" + _measures(c),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(comparison: Comparison, rows: Sequence[Row], style: str = "github") -> str:
    """Accuracy, in percent: mean and standard deviation over seeds, differences with intervals, p-values."""
    base = comparison.baseline
    with_p = any(row["p_adjusted"] is not None for row in rows)
    with_control = any(row["control_difference"] is not None for row in rows)
    with_images = any(row["image_low"] is not None for row in rows)
    lines = []
    for row in rows:
        line = {"model": row["model"], "runs": row["runs"], f"{SCORE} %": spread(row[SCORE], row["sd"])}
        line["mAP50 %"] = percent(row["mAP50"])
        line[f"to {base} [95 %]"] = interval(row["difference"], row["low"], row["high"])
        if with_p:
            line["p"] = NONE if row["p_adjusted"] is None else p_value(row["p_adjusted"])
        if with_images:
            line["over images [95 %]"] = interval(None, row["image_low"], row["image_high"])
        if with_control:
            line["to its control [95 %]"] = interval(row["control_difference"], row["control_low"], row["control_high"])
        lines.append(line)
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def pooled(comparisons: Sequence[Comparison], rows: Sequence[Row]) -> str:
    """The content of summary.md of several data sets."""
    return (
        f"# {', '.join(names(comparisons))}\n\n{pooled_table(comparisons, rows)}\n\n"
        f"{SCORE}, differences to {comparisons[0].baseline} in points with 95 % intervals over seeds, uncorrected. In "
        "the last column each data set counts the same, and the interval is for these data sets: it does not say what "
        f"another one would give.{_left_out(comparisons, rows)}\n"
    )


def _left_out(comparisons: Sequence[Comparison], rows: Sequence[Row]) -> str:
    known = {model["name"] for c in comparisons for model in c.models[1:]}
    left = sorted(known - {row["model"] for row in rows})
    return f" Not in all folders, and so not here: {', '.join(left)}." if left else ""


def names(comparisons: Sequence[Comparison]) -> list[str]:
    """What tells the data sets apart: names of folders, or where two have one name their paths."""
    short = [c.folder.name for c in comparisons]
    return short if len(set(short)) == len(short) else [str(c.folder) for c in comparisons]


def pooled_table(comparisons: Sequence[Comparison], rows: Sequence[Row], style: str = "github") -> str:
    """Differences by data set, and over all."""
    lines = [
        {
            "model": row["model"],
            **{name: _found(each) for name, each in zip(names(comparisons), row["by_data"], strict=True)},
            "all": _found(row),
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def costs(comparison: Comparison, rows: Sequence[Row], style: str = "github") -> str:
    """What each model costs, and how many of the checkpoint's tensors it starts from."""
    tensors = comparison.arguments["tensors"]
    lines = [
        {
            "model": row["model"],
            **({"tensors": f"{row['transferred']}/{tensors}"} if tensors else {}),
            "parameters": f"{row['parameters']:,}",
            "GFLOPs": f"{row['gflops']:.2f}",
            "latency ms (IQR)": number("{:.1f} ({:.1f})", row["latency_ms"], row["latency_iqr_ms"]),
            "ratio": number("{:.2f}", row["latency_ratio"]),
            "training MiB": number("{:.0f}", row["peak_mib"]),
            "training s": number("{:.0f}", row["train_s"]),
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def _recipe(c: Comparison) -> str:
    recipe = c.arguments["recipe"]
    train = ", ".join(f"{k.removeprefix('train.')}={v}" for k, v in recipe.items() if k.startswith("train."))
    images = ", ".join(f"{number_of} {split}" for split, number_of in recipe["images"].items())
    start = f"all from {recipe['pretrained']}" if recipe["pretrained"] else "all from random weights"
    threads = f", {count(recipe['threads'], 'CPU thread')}" if recipe["threads"] else ""
    return (
        f"{recipe['data']} ({images} images); {start}; {train}; last checkpoint; {recipe['device']}{threads}; "
        f"Ultralytics {recipe['ultralytics']}, PyTorch {recipe['torch']}, yolo-attn {recipe['yolo-attn']}."
    )


def _notes(c: Comparison, rows: Sequence[Row]) -> str:
    """How to read the table."""
    splits = " and ".join(dict.fromkeys(name.partition("/")[0] for name in c.measures()))
    said = [f"{SCORE} is the mean over {splits}."]
    if any(row["low"] is not None for row in rows):
        said = [
            f"{SCORE} is the mean over {splits}, ± its standard deviation over seeds. Differences are in points, with "
            "Welch's interval over seeds, uncorrected."
        ]
    if any(row["p_adjusted"] is not None for row in rows):
        said.append(_tests(c))
    if any(row["image_low"] is not None for row in rows):
        said.append(
            "The interval over images, from resampled images with these runs, says how much a data set of this size "
            "can tell at all."
        )
    if any(row["role"] == "control" for row in rows):
        said.append(
            "A control has a plain convolution block of equal size in the place of the attention: what a candidate is "
            "better by than its control isn't owed to its parameters alone."
        )
    said += [
        f"{name} has no block of its own as control: without its few parameters it is {c.baseline}."
        for name in c.candidates
        if c.control(name) == c.baseline
    ]
    return " ".join(said)


def _tests(c: Comparison) -> str:
    """What the p-values are."""
    base = len(c.scores(c.baseline))
    exact = all(stats.is_exact(base, len(c.scores(name))) for name in c.candidates)
    said = "p is that of a permutation test of the mean against the baseline's, over "
    said += "all relabelings of the runs" if exact else f"{stats.LIMIT:,} relabelings of the runs drawn at random"
    if len(c.others) > 1:
        said += f", corrected for {len(c.others)} candidates by Holm's method"
        said += f"; that of {c.asked[0]}, asked about beforehand, is not" if c.asked else ""
    return f"{said}."


def _cost_notes(c: Comparison) -> str:
    """How the costs were measured."""
    recipe = c.arguments["recipe"]
    device = next((str(each["device"]) for each in c.latency.values() if each.get("device")), "")
    precision = "float32" if device in ("", "cpu", "mps") else "float16"
    threads = f" with {count(recipe['threads'], 'thread')}" if device == "cpu" and recipe["threads"] else ""
    size = recipe.get("train.imgsz", 640)
    said = []
    if recipe["pretrained"]:
        said.append("Tensors: those of the checkpoint that have their place in the model.")
    if device:
        said.append(
            f"Latency: median and interquartile range for one image of {size} pixels in {precision} on {device}"
            f"{threads}, the models in turn; ratio: median of the ratio to {c.baseline} in the same turn."
        )
    said.append(
        "Training: peak memory of a run, and the time of its epochs without validation, medians over seeds, with other "
        "runs beside it where there were."
    )
    return " ".join(said)


def _measures(c: Comparison) -> str:
    """Means over seeds of everything that was measured, one column per model."""
    lines = []
    for measure in c.measures():
        values = {model["name"]: c.scores(model["name"], measure) for model in c.models}
        if any(values.values()):
            means = {name: percent(float(np.mean(v))) if v else NONE for name, v in values.items()}
            lines.append({"%": measure, **means})
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def _found(each: Row) -> str:
    """A difference whose interval may be nan."""
    known = not np.isnan(each["low"])
    return interval(each["difference"], *((each["low"], each["high"]) if known else (None, None)))
