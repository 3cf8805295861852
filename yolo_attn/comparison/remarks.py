"""What the numbers of a comparison allow to say, and what they don't, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import stats
from .formats import count, interval, p_value
from .summary import ALPHA, Comparison, reachable

Row = Mapping[str, Any]


def remarks(comparison: Comparison, rows: Sequence[Row]) -> list[str]:
    """What the numbers allow to say, and what they don't, in sentences."""
    c = comparison
    said = [_verdict(c, row) for row in rows if row["role"] == "candidate" and row["low"] is not None]
    said += [_unreachable(c, tested) for tested in (c.asked, c.others) if tested and not reachable(c, tested)]
    said += _smallest_effects(c)
    least = rows[0]["transferred"]
    said += [
        f"{row['model']} starts with {row['transferred']} of the checkpoint's tensors, {c.baseline} with {least}: what "
        "differs may be owed to that."
        for row in rows
        if row["transferred"] < least
    ]
    if earlier := c.arguments.get("seeds_before"):
        said.append(
            f"There were {' and '.join(map(str, earlier))} seeds first, and more later: where that was decided by "
            "looking at results, the p-values are too small."
        )
    for row in rows:
        if row["failed"]:
            said.append(f"{row['failed']} of the runs of {row['model']} failed; results.csv says why.")
        if row["resumed"]:
            said.append(f"{row['resumed']} of the runs of {row['model']} were resumed after an interruption.")
    if c.hidden:
        said.append(f"results.csv also holds runs of {', '.join(c.hidden)}, which are not shown here.")
    if more := sum(seed >= c.arguments["seeds"] for _, seed in c.rows):
        said.append(f"results.csv also holds {more} runs of other seeds, which are not counted here.")
    return said


def _verdict(c: Comparison, row: Row) -> str:
    """One sentence on a candidate."""
    p, better = row["p_adjusted"], "better" if row["difference"] > 0 else "worse"
    shown = f"{row['model']}: {interval(row['difference'], row['low'], row['high'])} points to {c.baseline}"
    if p is not None:
        corrected = " after Holm's correction" if len(c.others) > 1 else ""
        shown += f", p {p_value(p, '= ')}{' asked about beforehand' if row['model'] in c.asked else corrected}"
    if p is not None and p <= ALPHA:
        return f"{shown}: {better}{_limits(c, row, better)}."
    if row["low"] <= 0 <= row["high"]:
        return f"{shown}: no difference is shown."
    why = "these are too few seeds to test it" if p is None else "the test does not confirm it"
    return f"{shown}: maybe {better}, but {why}."


def _limits(c: Comparison, row: Row, better: str) -> str:
    """What a difference over seeds does not say."""
    said = ""
    if row["image_low"] is not None and row["image_low"] <= 0 <= row["image_high"]:
        said += " on these images, which are too few to say so of others"
    if c.control(row["model"]) != c.baseline and row["control_low"] is not None:
        to = f"its control ({interval(row['control_difference'], row['control_low'], row['control_high'])})"
        is_shown = row["control_low"] > 0 if better == "better" else row["control_high"] < 0
        said += f", and {better} than {to}" if is_shown else f"; not shown to be {better} than {to}"
    return said


def _unreachable(c: Comparison, tested: Sequence[str]) -> str:
    runs = count(len(c.scores(c.baseline)), "run")
    what = f"{len(tested)} candidates" if len(tested) > 1 else "a candidate"
    needed = stats.seeds_needed(len(tested), ALPHA)
    return (
        f"With {runs} of {c.baseline} no p-value for {what} can get below 5 %"
        f"{' after correction' if len(tested) > 1 else ''}, whatever the results: intervals alone are given, "
        f"uncorrected. It takes {needed} seeds."
    )


def _smallest_effects(c: Comparison) -> list[str]:
    """What a comparison of this size could have found."""
    arms = [scores for model in c.models if len(scores := c.scores(model["name"])) > 1]
    base = len(c.scores(c.baseline))
    sd = stats.pooled_sd(arms) if arms else 0.0
    if not sd or not base:
        return []
    said = [f"Runs of one model differ by {100 * sd:.2f} points (standard deviation over seeds, all models)."]
    for tested in (c.asked, c.others):
        seeds = max((len(c.scores(name)) for name in tested), default=0)
        if not seeds or seeds + base < 3:
            continue
        is_tested = reachable(c, tested)
        smallest = 100 * stats.detectable(sd, seeds, base, ALPHA / len(tested) if is_tested else ALPHA)
        if not is_tested:
            how = "has an interval clear of zero in 80 % of comparisons"
        elif len(tested) == 1:
            how = f"of {tested[0]} would be found in 80 % of comparisons (t-test at 5 %)"
        else:
            how = f"of one of the {len(tested)} corrected candidates would be found in 80 % of comparisons (t-test at "
            how += f"5 % / {len(tested)})"
        said.append(f"With {seeds} against {base} seeds a true difference of {smallest:.2f} points {how}.")
    return [" ".join(dict.fromkeys(said))] if len(said) > 1 else []
