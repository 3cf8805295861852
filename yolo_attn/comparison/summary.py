"""The results of a comparison in numbers: one row per model, differences with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import results, stats

ALPHA = 0.05
SCORE = "mAP50-95"
KNOWN = 0.95  # share of resamples that must have a score


@dataclass(frozen=True)
class Comparison:
    """The content of a result folder.

    Attributes:
        folder: Where it lies.
        arguments: What args.yaml holds.
        rows: The last row of every run that results.csv holds, by model and seed.
        latency: Latency of the models in ms, by model: median_ms, iqr_ms, ratio.
    """

    folder: Path
    arguments: Mapping[str, Any]
    rows: Mapping[tuple[str, int], results.Row]
    latency: Mapping[str, Mapping[str, float]]

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read a result folder.

        Raises:
            FileNotFoundError, ValueError: If it is none.
        """
        folder = Path(folder).resolve()
        arguments = results.load_arguments(folder)
        if arguments is None:
            raise FileNotFoundError(f"{folder} holds no comparison: there is no args.yaml. Give runs/compare/<name>.")
        return cls(folder, arguments, results.read(folder), results.load_latency(folder))

    @cached_property
    def models(self) -> list[Mapping[str, Any]]:
        """What is known of each model before its runs, the baseline first."""
        return list(self.arguments["models"])

    @property
    def baseline(self) -> str:
        return str(self.models[0]["name"])

    @property
    def candidates(self) -> list[str]:
        return [m["name"] for m in self.models if m["role"] == "candidate"]

    @property
    def asked(self) -> list[str]:
        """The candidate that was asked about beforehand, if one was."""
        return [name for name in [self.arguments.get("test")] if name]

    @property
    def others(self) -> list[str]:
        """The candidates whose tests are corrected for one another, those that are no longer compared among them."""
        dropped = [name for name in self.hidden if not name.endswith("-control")]
        return [name for name in (*self.candidates, *dropped) if name not in self.asked]

    @property
    def hidden(self) -> list[str]:
        """The models that have runs and are no longer compared."""
        return sorted({name for name, _ in self.rows} - {model["name"] for model in self.models})

    def yaml(self, name: str) -> Path:
        """The file of a model."""
        return self.folder / "models" / f"{name}.yaml"

    def control(self, name: str) -> str:
        """The control of a candidate, or ""."""
        own = next((m["of"] for m in self.models if m["name"] == name), "")
        return own or next((m["name"] for m in self.models if m["role"] == "control" and m["of"] == name), "")

    def runs(self, name: str, status: str = "ok") -> list[results.Row]:
        """The runs of a model with the seeds of the comparison."""
        found = (self.rows.get((name, seed)) for seed in range(self.arguments["seeds"]))
        return [row for row in found if row is not None and row["status"] == status]

    def scores(self, name: str, measure: str = SCORE) -> list[float]:
        """A measure of a model's runs, as far as they have it."""
        return [row[measure] for row in self.runs(name) if row.get(measure) is not None]

    def measures(self) -> list[str]:
        """The measures of the splits, in the order of results.csv."""
        row = next((row for row in self.rows.values() if row["status"] == "ok"), {})
        return [name for name in row if "/" in name]

    def resampled(self, name: str) -> NDArray[np.float64] | None:
        """The mean score of a model's runs for every resample of the images, or None if a run has none."""
        runs = []
        for row in self.runs(name):
            path = self.folder / "runs" / name / f"seed{row['seed']}" / "bootstrap.npz"
            if not path.exists():
                return None
            with np.load(path) as splits:
                if not splits.files:
                    return None
                runs.append(np.mean([splits[split] for split in splits.files], 0))
        return np.mean(runs, 0) if runs else None


def summary(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per model.

    Returns:
        Rows with the keys model, role, runs, failed, resumed, mAP50-95, sd, mAP50; difference, low and high of the
        Welch interval of the difference to the baseline; p, of the permutation test, and p_adjusted, by Holm over the
        candidates, None where this many seeds can't reach 5 %; image_low, image_high; the same difference to the
        control as control_difference, control_low, control_high; transferred, parameters, gflops, latency_ms,
        latency_iqr_ms, latency_ratio, peak_mib, train_s. Accuracy is from 0 to 1; what isn't known is None.
    """
    c = comparison
    p = {name: _p(c, name) for name in (*c.asked, *c.others)}
    rows = [_row(c, model, p.get(model["name"])) for model in c.models]
    for tested in (c.asked, c.others):
        if tested and reachable(c, tested):
            adjusted = dict(
                zip(tested, stats.holm([1.0 if (own := p[n]) is None else own for n in tested]), strict=True)
            )
            for row in rows:
                if row["p"] is not None:
                    row["p_adjusted"] = adjusted.get(row["model"], row["p_adjusted"])
    return rows


def reachable(comparison: Comparison, tested: Sequence[str]) -> bool:
    """Whether the test of any of several candidates could get below 5 % after correction for all of them."""
    base = len(comparison.scores(comparison.baseline))
    sizes = [len(comparison.scores(name)) for name in tested]
    return any(n and base and stats.smallest_p(n, base, len(tested)) <= ALPHA for n in sizes)


def _row(c: Comparison, model: Mapping[str, Any], p: float | None) -> dict[str, Any]:
    name = model["name"]
    scores, base = c.scores(name), c.scores(c.baseline)
    runs = c.runs(name)
    row: dict[str, Any] = {
        "model": name,
        "role": model["role"],
        "runs": len(runs),
        "failed": len(c.runs(name, "failed")),
        "resumed": sum(run["resumed"] for run in runs),
        SCORE: _mean(scores),
        "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "mAP50": _mean(c.scores(name, "mAP50")),
    }
    compared = bool(scores and base) and name != c.baseline
    row |= _difference(scores, base, "") if compared else dict.fromkeys(("difference", "low", "high"))
    row |= {"p": p, "p_adjusted": None}
    row["image_low"], row["image_high"] = _image_interval(c, name) if compared else (None, None)
    against = c.scores(control) if (control := c.control(name)) and model["role"] == "candidate" else []
    keys = ("control_difference", "control_low", "control_high")
    row |= _difference(scores, against, "control_") if scores and against else dict.fromkeys(keys)
    latency = c.latency.get(name, {})
    return row | {
        "transferred": model["transferred"],
        "parameters": model["parameters"],
        "gflops": model["gflops"],
        "latency_ms": latency.get("median_ms"),
        "latency_iqr_ms": latency.get("iqr_ms"),
        "latency_ratio": latency.get("ratio"),
        "peak_mib": _median(c.scores(name, "peak_mib")),
        "train_s": _median(c.scores(name, "train_s")),
    }


def _difference(a: Sequence[float], b: Sequence[float], prefix: str) -> dict[str, float | None]:
    found = stats.welch(a, b)
    return {f"{prefix}{key}": None if math.isnan(value) else value for key, value in found._asdict().items()}


def _p(c: Comparison, name: str) -> float | None:
    """p of a candidate against the baseline, not corrected; None where one of them has no runs."""
    scores, base = c.scores(name), c.scores(c.baseline)
    return stats.permutation(scores, base) if scores and base else None


def _image_interval(c: Comparison, name: str) -> tuple[float | None, float | None]:
    ours, base = c.resampled(name), c.resampled(c.baseline)
    if ours is None or base is None:
        return None, None
    known = (ours - base)[np.isfinite(ours - base)]  # a draw of few images may hold no object
    return stats.percentile(known) if len(known) >= KNOWN * len(ours) else (None, None)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
