"""A comparison in words and tables: summary.md, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from . import stats
from .summary import ALPHA, SCORE, Comparison, reachable

Row = Mapping[str, Any]
NONE = ""


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
        "## Cost\n\n" + costs(rows),
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
        line = {"model": row["model"], "runs": row["runs"], f"{SCORE} %": _spread(row[SCORE], row["sd"])}
        line["mAP50 %"] = _percent(row["mAP50"])
        line[f"to {base} [95 %]"] = _interval(row["difference"], row["low"], row["high"])
        if with_p:
            line["p"] = NONE if row["p_adjusted"] is None else f"{row['p_adjusted']:.3f}"
        if with_images:
            line["over images [95 %]"] = _interval(None, row["image_low"], row["image_high"])
        if with_control:
            line["to its control [95 %]"] = _interval(
                row["control_difference"], row["control_low"], row["control_high"]
            )
        lines.append(line)
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def pooled(comparisons: Sequence[Comparison], rows: Sequence[Row]) -> str:
    """The content of summary.md of several data sets."""
    return (
        f"# {', '.join(names(comparisons))}\n\n{pooled_table(comparisons, rows)}\n\n"
        f"{SCORE}, differences to {comparisons[0].baseline} in points with 95 % intervals over seeds, uncorrected. In "
        "the last column each data set counts the same, and the interval is for these data sets: it does not say what "
        "another one would give.\n"
    )


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


def costs(rows: Sequence[Row], style: str = "github") -> str:
    """What each model costs."""
    lines = [
        {
            "model": row["model"],
            "parameters": f"{row['parameters']:,}",
            "GFLOPs": f"{row['gflops']:.2f}",
            "latency ms (IQR)": _number("{:.1f} ({:.1f})", row["latency_ms"], row["latency_iqr_ms"]),
            "ratio": _number("{:.2f}", row["latency_ratio"]),
            "training MiB": _number("{:.0f}", row["peak_mib"]),
            "training s": _number("{:.0f}", row["train_s"]),
        }
        for row in rows
    ]
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def remarks(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """What the numbers allow to say, and what they don't, in sentences."""
    c = comparison
    said = [_verdict(c, row) for row in rows if row["role"] == "candidate" and row["low"] is not None]
    asked = c.arguments.get("test", "")
    others = [name for name in c.candidates if name != asked]
    for tested in ([asked] if asked else [], others):
        if tested and not reachable(c, tested):
            said.append(_unreachable(c, tested))
    said += _smallest_effect(c)
    for row in rows:
        if row["failed"]:
            said.append(f"{row['failed']} of the runs of {row['model']} failed; results.csv says why.")
        if row["resumed"]:
            said.append(f"{row['resumed']} of the runs of {row['model']} were resumed after an interruption.")
    if hidden := sorted({name for name, _ in c.rows} - {m["name"] for m in c.models}):
        said.append(f"results.csv also holds runs of {', '.join(hidden)}, which are not shown here.")
    return said


def _verdict(c: Comparison, row: Row) -> str:
    """One sentence on a candidate."""
    shown = f"{row['model']}: {_interval(row['difference'], row['low'], row['high'])} points to {c.baseline}"
    if row["p_adjusted"] is not None:
        kind = "asked about beforehand" if row["model"] == c.arguments.get("test") else "after Holm's correction"
        shown += f", p = {row['p_adjusted']:.3f} {kind}"
    better = "better" if row["difference"] > 0 else "worse"
    if row["p_adjusted"] is not None and row["p_adjusted"] <= ALPHA:
        return f"{shown}: {better}."
    if row["low"] <= 0 <= row["high"]:
        return f"{shown}: no difference is shown."
    return f"{shown}: maybe {better}; among several candidates, such an interval is no proof."


def _unreachable(c: Comparison, tested: Sequence[str]) -> str:
    base = len(c.scores(c.baseline))
    what = f"{len(tested)} candidates" if len(tested) > 1 else "a candidate"
    needed = stats.seeds_needed(len(tested), ALPHA)
    return (
        f"With {base} runs of {c.baseline} no p-value for {what} can get below 5 %"
        f"{' after correction' if len(tested) > 1 else ''}, whatever the results: intervals alone are given, "
        f"uncorrected. It takes {needed} seeds."
    )


def _smallest_effect(c: Comparison) -> list[str]:
    """What a comparison of this size could have found."""
    arms = [scores for model in c.models if len(scores := c.scores(model["name"])) > 1]
    base = len(c.scores(c.baseline))
    sizes = [len(c.scores(name)) for name in c.candidates]
    if not arms or not base or not max(sizes, default=0):
        return []
    sd = stats.pooled_sd(arms)
    if not sd:
        return []
    smallest = stats.detectable(sd, max(sizes), base, ALPHA)
    return [
        f"Runs of one model differ by {100 * sd:.2f} points (standard deviation over seeds, all models). With "
        f"{max(sizes)} against {base} seeds a true difference of {100 * smallest:.2f} points is found in 80 % of "
        "comparisons of one candidate (t-test at 5 %); smaller ones mostly are not."
    ]


def _recipe(c: Comparison) -> str:
    recipe = c.arguments["recipe"]
    train = ", ".join(f"{k.removeprefix('train.')}={v}" for k, v in recipe.items() if k.startswith("train."))
    images = ", ".join(f"{count} {split}" for split, count in recipe["images"].items())
    start = f"all from {recipe['pretrained']}" if recipe["pretrained"] else "all from random weights"
    threads = f", {recipe['threads']} CPU threads" if recipe["threads"] else ""
    return (
        f"{recipe['data']} ({images} images); {start}; {train}; last checkpoint; {recipe['device']}{threads}; "
        f"Ultralytics {recipe['ultralytics']}, PyTorch {recipe['torch']}, yolo-attn {recipe['yolo-attn']}."
    )


def _notes(c: Comparison, rows: Sequence[Row]) -> str:
    """How to read the table."""
    splits = " and ".join(dict.fromkeys(name.partition("/")[0] for name in c.measures()))
    said = [
        f"{SCORE} is the mean over {splits}, ± its standard deviation over seeds. Differences are in points, with "
        "Welch's interval over seeds, uncorrected."
    ]
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


def _measures(c: Comparison) -> str:
    """Means over seeds of everything that was measured, one column per model."""
    lines = []
    for measure in c.measures():
        values = {model["name"]: c.scores(model["name"], measure) for model in c.models}
        if any(values.values()):
            means = {name: _percent(float(np.mean(v))) if v else NONE for name, v in values.items()}
            lines.append({"%": measure, **means})
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}"


def _spread(mean: float | None, sd: float | None) -> str:
    return _percent(mean) + (NONE if sd is None else f" ± {100 * sd:.2f}")


def _found(each: Row) -> str:
    """A difference whose interval may be nan."""
    known = not np.isnan(each["low"])
    return _interval(each["difference"], *((each["low"], each["high"]) if known else (None, None)))


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    """A difference in points, and its interval."""
    point = NONE if value is None else f"{100 * value:+.2f}"
    return point if low is None or high is None else f"{point} [{100 * low:+.2f}, {100 * high:+.2f}]".strip()


def _number(form: str, *values: float | None) -> str:
    """Numbers in a format, or nothing where one isn't known."""
    return NONE if None in values else form.format(*values)
