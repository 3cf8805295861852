"""The result folder: rows survive whatever interrupts their writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yolo_attn.comparison import results

COLUMNS = ["val/mAP50-95"]
ROW = {"model": "a", "seed": 0, "status": "ok", "resumed": False, "mAP50-95": 0.25, "val/mAP50-95": 0.25}


def test_rows_come_back(tmp_path: Path) -> None:
    """A finished run would be run again, or its numbers would change."""
    results.append(tmp_path, ROW, COLUMNS)
    results.append(tmp_path, {"model": "b, c", "seed": 1, "status": "failed", "reason": 'it said "no", twice'}, COLUMNS)
    rows = results.read(tmp_path)
    assert rows["a", 0]["mAP50-95"] == 0.25 and rows["a", 0]["resumed"] is False and rows["a", 0]["reason"] == ""
    assert rows["b, c", 1]["reason"] == 'it said "no", twice' and rows["b, c", 1]["mAP50-95"] is None


def test_the_last_row_of_a_run_counts(tmp_path: Path) -> None:
    """A run that failed and was repeated would stay failed."""
    results.append(tmp_path, {"model": "a", "seed": 0, "status": "failed", "reason": "full"}, COLUMNS)
    results.append(tmp_path, ROW, COLUMNS)
    assert results.read(tmp_path)["a", 0]["status"] == "ok"


@pytest.mark.parametrize("kept", range(0, 200, 7))
def test_a_row_cut_short_is_no_row(tmp_path: Path, kept: int) -> None:
    """A process killed while it writes would leave half a row, and the next row behind it on the same line."""
    results.append(tmp_path, ROW, COLUMNS)
    path = tmp_path / "results.csv"
    first = path.read_bytes()
    results.append(tmp_path, {**ROW, "seed": 1}, COLUMNS)
    path.write_bytes(path.read_bytes()[: min(kept, len(first) - 1)])
    before = results.read(tmp_path)
    assert before in ({}, {("a", 0): results.read(tmp_path).get(("a", 0))})
    results.append(tmp_path, {**ROW, "seed": 2}, COLUMNS)
    assert results.read(tmp_path) == {**before, ("a", 2): {**results.read(tmp_path)["a", 2]}}
    assert path.read_bytes().endswith(b"\n")


def test_a_column_too_many(tmp_path: Path) -> None:
    """A measure would be dropped silently."""
    results.append(tmp_path, ROW, COLUMNS)
    before = (tmp_path / "results.csv").read_bytes()
    with pytest.raises(ValueError, match="test/mAP50-95"):
        results.append(tmp_path, {**ROW, "test/mAP50-95": 1.0}, COLUMNS)
    assert (tmp_path / "results.csv").read_bytes() == before


def test_two_processes(tmp_path: Path) -> None:
    """Two comparisons would write into one folder; or one that was killed would lock it for good."""
    code = "import sys, time\nfrom pathlib import Path\nfrom yolo_attn.comparison import results\n"
    code += "with results.locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match="in use by another comparison"), results.locked(tmp_path):
        pass
    other.kill()
    other.wait()
    with results.locked(tmp_path):
        pass


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    """Runs that can't be compared would be compared."""
    results.claim(tmp_path, {"recipe": {"train.epochs": 12, "threads": 1}, "seeds": 3}, {"a": "x: 1\n"})
    with pytest.raises(ValueError, match=r"train\.epochs \(12, now 20\), train\.lr0 \(None, now 0\.1\)"):
        results.claim(tmp_path, {"recipe": {"train.epochs": 20, "train.lr0": 0.1, "threads": 1}}, {"a": "x: 1\n"})
    with pytest.raises(ValueError, match="the model a"):
        results.claim(tmp_path, {"recipe": {"train.epochs": 12, "threads": 1}}, {"a": "x: 2\n"})
    results.claim(tmp_path, {"recipe": {"train.epochs": 12, "threads": 1}, "seeds": 5}, {"a": "x: 1\n", "b": "y: 1\n"})
    assert results.load_arguments(tmp_path)["seeds"] == 5


def test_what_was_asked_beforehand(tmp_path: Path) -> None:
    """The candidate that came out best would be declared the one that was asked about; or seeds be added unseen."""
    recipe: dict[str, Any] = {"recipe": {"threads": 1}}
    results.claim(tmp_path, {**recipe, "seeds": 2}, {})
    results.claim(tmp_path, {**recipe, "seeds": 3, "test": "a"}, {})  # nothing has run
    assert "seeds_before" not in (results.load_arguments(tmp_path) or {})
    results.append(tmp_path, ROW, COLUMNS)
    with pytest.raises(ValueError, match=r"another recipe: test \(a, now b\)"):
        results.claim(tmp_path, {**recipe, "seeds": 3, "test": "b"}, {})
    results.claim(tmp_path, {**recipe, "seeds": 3, "test": "a"}, {})
    results.claim(tmp_path, {**recipe, "seeds": 5, "test": "a"}, {})
    results.claim(tmp_path, {**recipe, "seeds": 5, "test": "a"}, {})
    assert (results.load_arguments(tmp_path) or {})["seeds_before"] == [3]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    """A folder of `yolo train`, which has an args.yaml too, would be written into, or end in a KeyError."""
    (tmp_path / "args.yaml").write_text("task: detect\nmode: train\n")
    with pytest.raises(ValueError, match=r"holds no comparison: its args\.yaml is of something else"):
        results.claim(tmp_path, {"recipe": {}}, {})
    assert not (tmp_path / "models").exists()
