"""What a comparison says of given results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

import yolo_attn
from yolo_attn.comparison import render, results, stats, wording
from yolo_attn.comparison.remarks import remarks
from yolo_attn.comparison.summary import Comparison, summary

BASE = (0.610, 0.612, 0.608, 0.611, 0.609)
BETTER = (0.630, 0.632, 0.628, 0.631, 0.629)
SAME = (0.611, 0.609, 0.612, 0.608, 0.610)
RECIPE = {"data": "my.yaml 0", "images": {"train": 9, "val": 4, "test": 3}, "classes": ["a"], "pretrained": None}
RECIPE |= {"train.epochs": 3, "device": "cpu", "threads": 1, "torch": "2", "ultralytics": "8", "yolo-attn": "0"}


def write(
    folder: Path,
    scores: Mapping[str, Sequence[float]],
    test: str = "",
    roles: Mapping[str, tuple[str, str]] | None = None,
) -> Path:
    """A result folder with these scores by model, the baseline first."""
    roles = {**{name: ("candidate" if i else "baseline", "") for i, name in enumerate(scores)}, **(roles or {})}
    models = [
        {"name": n, "role": role, "of": of, "parameters": 100, "gflops": 1.5, "transferred": 0}
        for n, (role, of) in roles.items()
    ]
    seeds = max(map(len, scores.values()))
    folder.mkdir(parents=True)
    arguments = {"command": "yolo-attn compare", "recipe": RECIPE, "seeds": seeds, "tensors": 0, "models": models}
    results.save_arguments(folder, arguments | ({"test": test} if test else {}))
    for name, values in scores.items():
        for seed, score in enumerate(values):
            row: dict[str, Any] = {"model": name, "seed": seed, "status": "ok", "resumed": False, "mAP50-95": score}
            row |= {"mAP50": score + 0.2, "val/mAP50-95": score, "train_s": 10 + seed, "peak_mib": 7}
            results.append(folder, row, ["val/mAP50-95"])
            run = folder / "runs" / name / f"seed{seed}"
            run.mkdir(parents=True)
            np.savez(run / "bootstrap.npz", val=score + np.linspace(-0.01, 0.01, 101) * (1 + len(name)))
    return folder


def table(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in summary(Comparison.load(folder))}


def test_numbers(tmp_path: Path) -> None:
    """A mean, an interval or a p-value would be another one's."""
    found = table(write(tmp_path / "c", {"base": BASE, "better": BETTER}))
    row = found["better"]
    assert row["mAP50-95"] == pytest.approx(0.63) and row["sd"] == pytest.approx(np.std(BETTER, ddof=1))
    assert row["mAP50"] == pytest.approx(0.83) and row["train_s"] == 12 and row["runs"] == 5
    interval = scipy_stats.ttest_ind(BETTER, BASE, equal_var=False).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["difference"] == pytest.approx(0.02) and row["p"] == pytest.approx(2 / 252) == row["p_adjusted"]
    assert (row["image_low"], row["image_high"]) == pytest.approx((0.02 - 0.019, 0.02 + 0.019))  # 95 % of +-0.02
    assert found["base"]["difference"] is None and found["base"]["p"] is None


def test_correction(tmp_path: Path) -> None:
    """One of several candidates would be called better by chance."""
    found = table(write(tmp_path / "c", {"base": BASE, "x": BETTER, "y": SAME, "z": BETTER}))
    assert found["x"]["p_adjusted"] == pytest.approx(3 * 2 / 252) and found["z"]["p_adjusted"] == pytest.approx(6 / 252)
    assert found["y"]["p_adjusted"] == found["y"]["p"] > 0.5


def test_the_one_asked_about(tmp_path: Path) -> None:
    """The question asked beforehand would be paid for by those asked beside it."""
    found = table(write(tmp_path / "c", {"base": BASE, "x": BETTER, "y": BETTER, "z": BETTER}, test="y"))
    assert found["y"]["p_adjusted"] == pytest.approx(2 / 252)
    assert found["x"]["p_adjusted"] == pytest.approx(2 * 2 / 252)


@pytest.mark.parametrize(("seeds", "candidates", "needed"), [(3, 1, 4), (5, 7, 6), (4, 2, 5)])
def test_never(tmp_path: Path, seeds: int, candidates: int, needed: int) -> None:
    """A p-value would be shown that could never have been small, as if it said something."""
    scores = {"base": BASE[:seeds], **{f"c{i}": BETTER[:seeds] for i in range(candidates)}}
    comparison = Comparison.load(write(tmp_path / "c", scores))
    rows = summary(comparison)
    assert all(row["p_adjusted"] is None for row in rows)
    said = " ".join(remarks(comparison, rows))
    assert f"It takes {needed} seeds." in said and "p = " not in said
    assert ("after correction" in said) is (candidates > 1) and "maybe better" in said
    assert "| p " not in wording.markdown(comparison, rows)


def test_control(tmp_path: Path) -> None:
    """What more parameters bring would be put down to attention."""
    roles = {"x-control": ("control", "x"), "y": ("candidate", "base")}
    scores = {"base": BASE, "x": BETTER, "y": SAME, "x-control": BETTER}
    found = table(write(tmp_path / "c", scores, roles=roles))
    assert found["x"]["control_difference"] == pytest.approx(0, abs=1e-12) and found["x"]["difference"] > 0.01
    assert found["y"]["control_difference"] == found["y"]["difference"]
    assert found["x-control"]["p"] is None  # is asked nothing, and costs the candidates nothing
    assert found["x"]["p_adjusted"] == pytest.approx(2 * 2 / 252)
    assert "y has no block of its own" in (wording.markdown(Comparison.load(tmp_path / "c"), list(found.values())))


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (BETTER, "p = 0.008: better."),
        ([2 * 0.61 - x for x in BETTER], "p = 0.008: worse."),
        (SAME, "no difference is shown."),
    ],
)
def test_verdict(tmp_path: Path, scores: Sequence[float], verdict: str) -> None:
    """The sentence would say another thing than the numbers."""
    comparison = Comparison.load(write(tmp_path / "c", {"base": BASE, "mine": scores}))
    assert remarks(comparison, summary(comparison))[0].endswith(verdict)


def test_limits_of_a_verdict(tmp_path: Path) -> None:
    """What these images or the parameters may have brought would be put down to attention."""
    roles = {"mine-control": ("control", "mine")}
    scores = {"base": BASE, "mine": BETTER, "another one": BETTER, "mine-control": SAME}
    folder = write(tmp_path / "c", scores, roles=roles)
    said = remarks(c := Comparison.load(folder), summary(c))
    assert said[0].endswith("after Holm's correction: better, and better than its control (+2.00 [+1.77, +2.23]).")
    assert said[1].endswith(": better on these images, which are too few to say so of others.")
    for seed in range(5):
        results.append(folder, {"model": "mine-control", "seed": seed, "status": "ok", "mAP50-95": BETTER[seed]}, [])
    said = remarks(c := Comparison.load(folder), summary(c))
    assert "better; not shown to be better than its control (+0.00 [" in said[0]


def test_smallest_effect(tmp_path: Path) -> None:
    """The effect that could have been found would be that of another test than the one that is made."""
    c = Comparison.load(write(tmp_path / "c", {"base": BASE, "x": BETTER, "y": SAME, "z": SAME}, test="y"))
    said = remarks(c, summary(c))[-1]
    sd = np.std(BASE, ddof=1)
    one, two = (100 * stats.detectable(sd, 5, 5, alpha) for alpha in (0.05, 0.025))
    assert f"a true difference of {one:.2f} points of y would be found" in said
    assert f"a true difference of {two:.2f} points of one of the 2 corrected" in said
    few = Comparison.load(write(tmp_path / "few", {"base": BASE[:2], "x": BETTER[:2]}))
    assert remarks(few, summary(few))[-1].endswith("points has an interval clear of zero in 80 % of comparisons.")
    one_each = Comparison.load(
        write(tmp_path / "one", {"base": BASE[:1], "x": BETTER[:1], "w": BETTER[:2]}, roles={"w": ("control", "x")})
    )
    assert len(remarks(one_each, summary(one_each))) == 1  # an effect would need three runs


def test_candidates_that_were_dropped(tmp_path: Path) -> None:
    """Leaving out the unlucky candidates would make the p-value of the lucky one smaller."""
    folder = write(tmp_path / "c", {"base": BASE, "x": BETTER, "y": SAME})
    before = table(folder)["x"]["p_adjusted"]
    arguments = results.load_arguments(folder)
    arguments["models"] = [m for m in arguments["models"] if m["name"] != "y"]
    results.save_arguments(folder, arguments | {"seeds": 4})
    assert table(folder)["x"]["p_adjusted"] is None  # two candidates, four seeds
    results.save_arguments(folder, arguments | {"seeds_before": [3]})
    assert table(folder)["x"]["p_adjusted"] == before == pytest.approx(2 * 2 / 252)
    said = " ".join(remarks(c := Comparison.load(folder), summary(c)))
    assert "also holds runs of y" in said and "There were 3 seeds first, and more later" in said
    results.save_arguments(folder, arguments | {"seeds": 4})
    c = Comparison.load(folder)
    assert "also holds 3 runs of other seeds" in " ".join(remarks(c, summary(c)))


def test_another_start(tmp_path: Path) -> None:
    """A model that takes a part of the checkpoint would be compared with one that takes all, without a word."""
    folder = write(tmp_path / "c", {"base": BASE, "x": SAME})
    arguments = results.load_arguments(folder)
    for model, transferred in zip(arguments["models"], (349, 199), strict=True):
        model["transferred"] = transferred
    results.save_arguments(folder, arguments | {"tensors": 355})
    c, rows = render.write(folder)
    assert "x starts with 199 of the checkpoint's tensors, base with 349" in " ".join(remarks(c, rows))
    assert "| 199/355 " in (folder / "summary.md").read_text()


def test_draws_without_objects(tmp_path: Path) -> None:
    """A small split, of which a draw may hold no object, would have no summary; or one made of a few draws."""
    folder = write(tmp_path / "c", {"base": BASE, "x": SAME})
    path = folder / "runs/base/seed0/bootstrap.npz"
    sample = np.load(path)["val"]
    sample[50] = np.nan
    np.savez(path, val=sample)
    assert table(folder)["x"]["image_low"] < 0 < table(folder)["x"]["image_high"]
    sample[:50] = np.nan
    np.savez(path, val=sample)
    assert table(folder)["x"]["image_low"] is None


@pytest.mark.parametrize(
    "scores", [{"base": (), "x": BETTER}, {"base": BASE, "x": ()}, {"base": BASE[:1], "x": SAME[:1]}]
)
def test_too_few_runs(tmp_path: Path, scores: Mapping[str, Sequence[float]]) -> None:
    """A comparison of which little is done yet could not be looked at."""
    folder = write(tmp_path / "c", scores)
    _, rows = render.write(folder)
    assert rows[1]["low"] is None and (folder / "summary.png").exists() and (folder / "curves.png").exists()
    assert "nan" not in (folder / "summary.md").read_text()


def test_failed_and_hidden_runs(tmp_path: Path) -> None:
    """Runs that failed, were resumed, or belong to a model that was dropped would go unmentioned."""
    folder = write(tmp_path / "c", {"base": BASE, "x": BETTER[:3]})
    failed = {"seed": 3, "status": "failed", "reason": "out of memory"}
    results.append(folder, {"model": "x", **failed}, [])
    results.append(folder, {"model": "x", "seed": 4, "status": "ok", "resumed": True, "mAP50-95": 0.6}, [])
    results.append(folder, {"model": "dropped", **failed}, [])
    comparison = Comparison.load(folder)
    said = " ".join(remarks(comparison, summary(comparison)))
    assert "1 of the runs of x failed" in said and "1 of the runs of x were resumed" in said
    assert "also holds runs of dropped" in said


def test_several_data_sets(tmp_path: Path) -> None:
    """The pooled difference would not be the mean over data sets, or mix different baselines."""
    one = Comparison.load(write(tmp_path / "one", {"base": BASE, "x": BETTER}))
    two = Comparison.load(write(tmp_path / "two", {"base": BASE, "x": SAME, "y": SAME}))
    (row,) = render.pool([one, two])
    assert row["model"] == "x" and row["difference"] == pytest.approx(0.01)
    assert [each["difference"] for each in row["by_data"]] == pytest.approx([0.02, 0])
    assert "Not in all folders, and so not here: y." in wording.pooled([one, two], [row])
    for c, text in ((one, "x: 1"), (two, "x: 2")):
        c.yaml("x").parent.mkdir()
        c.yaml("x").write_text(text)
    with pytest.raises(ValueError, match="x is not the same model in all folders"):
        render.pool([one, two])
    other = Comparison.load(write(tmp_path / "other", {"x": BASE, "base": SAME}))
    with pytest.raises(ValueError, match=r"one baseline, got base \(.*one\), x \("):
        render.pool([one, other])


def test_report_again(tmp_path: Path) -> None:
    """`report runs/compare/*` would work once and then take its own result for a comparison; or ignore `out`."""
    write(tmp_path / "one", {"base": BASE, "x": BETTER})
    write(tmp_path / "two", {"base": BASE, "x": SAME})
    for _ in range(2):
        (row,) = yolo_attn.report(*sorted(tmp_path.iterdir()))
        assert row["difference"] == pytest.approx(0.01) and (tmp_path / "pooled" / "summary.md").exists()
    with pytest.raises(FileNotFoundError, match="pooled holds no comparison"):
        yolo_attn.report(tmp_path / "pooled")
    yolo_attn.report(tmp_path / "one", out=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "summary.png").exists() and not list((tmp_path / "elsewhere").glob("*.csv"))
    assert (tmp_path / "elsewhere" / "summary.md").read_text().startswith("# one: 2 models")
