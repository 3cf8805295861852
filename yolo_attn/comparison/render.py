"""Draw what the results of a comparison say into its folder, and pool several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import log
from ..files import replace_text
from . import plots, stats, wording
from .remarks import remarks
from .summary import Comparison, summary


def write(folder: Path, out: Path | None = None) -> tuple[Comparison, list[dict[str, Any]]]:
    """Tell what a result folder says, and write summary.md, summary.png and curves.png, there or elsewhere.

    Raises:
        FileNotFoundError: If it is none.
    """
    comparison = Comparison.load(folder)
    rows = summary(comparison)
    said = "\n".join(f"- {each}" for each in remarks(comparison, rows))
    log.result(
        f"\n{wording.table(comparison, rows, 'simple')}\n\n{wording.costs(comparison, rows, 'simple')}\n\n{said}"
    )
    out = out or folder
    out.mkdir(parents=True, exist_ok=True)
    with log.doing("drawing"):
        plots.draw_summary(comparison, rows, out / "summary.png")
        plots.draw_curves(comparison, out / "curves.png")
    replace_text(out / "summary.md", wording.markdown(comparison, rows))
    log.result(f"summary.md, summary.png and curves.png are in {out}, results.csv in {folder}.")
    return comparison, rows


def pool(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The differences to the baseline on each data set, and over all of them.

    Returns:
        One row per candidate and control that all comparisons have: model, role, difference, low and high of the mean
        difference, in which each data set counts the same, and a list of those of each, `by_data`.

    Raises:
        ValueError: If the comparisons have different baselines, one name for different models, or no model with runs.
    """
    first = comparisons[0]
    if len({c.baseline for c in comparisons}) > 1:
        named = ", ".join(f"{c.baseline} ({c.folder})" for c in comparisons)
        raise ValueError(f"the comparisons must have one baseline, got {named}. Give those of one model.")
    rows = []
    for model in first.models:
        texts = {path.read_text("utf-8") for c in comparisons if (path := c.yaml(model["name"])).exists()}
        if len(texts) > 1:
            raise ValueError(f"{model['name']} is not the same model in all folders. Compare the same models.")
    for model in first.models[1:]:
        pairs = [(c.scores(model["name"]), c.scores(c.baseline)) for c in comparisons]
        if all(a and b for a, b in pairs):
            each = [stats.welch(a, b)._asdict() for a, b in pairs]
            total = stats.pooled(pairs)._asdict()
            rows.append({"model": model["name"], "role": model["role"], **total, "by_data": each})
    if not rows:
        raise ValueError(f"no model but {first.baseline} has runs in all folders. Compare the same models.")
    return rows


def write_pooled(comparisons: Sequence[Comparison], out: Path) -> list[dict[str, Any]]:
    """Write summary.md and summary.png of several comparisons into a folder."""
    rows = pool(comparisons)
    out.mkdir(parents=True, exist_ok=True)
    plots.draw_pooled(rows, wording.names(comparisons), comparisons[0].baseline, out / "summary.png")
    replace_text(out / "summary.md", wording.pooled(comparisons, rows))
    log.result(f"\n{wording.pooled_table(comparisons, rows, 'simple')}\n\nThe pooled results are in {out}.")
    return rows
