"""`yolo-attn compare`: real runs, killed and taken up again."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import yolo_attn
from yolo_attn import document

from .comparison import COMMAND, MODELS, RECIPE, prepare, rows, weights, workers
from .models import WEIGHTS

BOMB = """
import torch
import yolo_attn


@yolo_attn.register
class Bomb(torch.nn.Module):
    def __init__(self, dim: int):
        super().__init__()

    def forward(self, x):
        if self.training:
            raise MemoryError("CUDA out of memory, say")
        return x
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished comparison, runs/compare/done."""
    folder = prepare(tmp_path_factory.mktemp("compare"))
    done = subprocess.run(
        [*COMMAND, f"models={MODELS}", *RECIPE, "control=true", "name=done"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


def test_results(place: Path) -> None:
    """A run, a picture or the summary would be missing."""
    folder = place / "runs/compare/done"
    models = ["yolov8n", "yolov8n-se", "yolov8n-se-control"]
    assert sorted(rows(folder)) == [(model, seed) for model in models for seed in "01"]
    for name in ("summary.md", "summary.png", "curves.png", "args.yaml", "latency.csv"):
        assert (folder / name).stat().st_size > 100
    for model in models:
        assert (folder / "runs" / model / "seed1" / "last.pt").exists()
        assert model in (folder / "summary.md").read_text()
    assert not list(folder.rglob("*.part")) and not list(folder.rglob("best.pt"))
    assert re.search(r"yolov8n-se +2 +\d", (place / "said.txt").read_text())


def test_same_footing(place: Path) -> None:
    """A model would start from other weights, or a control of another size would be compared."""
    args = yaml.safe_load((place / "runs/compare/done/args.yaml").read_text())
    models = {model["name"]: model for model in args["models"]}
    assert [model["role"] for model in models.values()] == ["baseline", "candidate", "control"]
    assert len({model["transferred"] for model in models.values()}) == 1
    assert models["yolov8n"]["transferred"] >= args["tensors"] - 6  # the last layers of classes, of another number
    extra = {name: model["parameters"] - models["yolov8n"]["parameters"] for name, model in models.items()}
    assert 0 < abs(extra["yolov8n-se-control"] - extra["yolov8n-se"]) + 1 <= 0.02 * extra["yolov8n-se"] + 1


def test_seeds_count(place: Path) -> None:
    """Several seeds would be one run, counted several times."""
    assert len(set(weights(place / "runs/compare/done").values())) == 6


def test_the_same_command_does_nothing_more(place: Path, tmp_path: Path) -> None:
    """A finished comparison would train again, or its table would change."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "runs/compare/done"
    before = (folder / "results.csv").read_bytes(), (folder / "summary.md").read_bytes()
    (folder / "summary.md").unlink()
    done = subprocess.run(
        [*COMMAND, f"models={MODELS}", *RECIPE, "control=true", "name=done"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert before == ((folder / "results.csv").read_bytes(), (folder / "summary.md").read_bytes())


def killed(command: list[str], cwd: Path, folder: Path, moments: Iterator[float], times: int) -> None:
    """Start a command again and again and kill it, as often as is said; at last let it finish."""
    for _ in range(times):
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):  # or it ends before its moment has come
            process.wait(next(moments))
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while (left := workers(folder)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, "a run lives on without its comparison"
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_kills_change_nothing(place: Path, tmp_path: Path, times: int = 20) -> None:
    """An interrupted comparison would have other results than an uninterrupted one, or leave processes behind."""
    shutil.copy(place / "start.pt", tmp_path)
    start = WEIGHTS if WEIGHTS.exists() else "start.pt"
    command = [*COMMAND, f"models={MODELS}", "control=true", "data=shapes.yaml", f"pretrained={start}"]
    command += ["epochs=2", "imgsz=96", "batch=8", "fraction=0.2", "seeds=8"]
    folder, calm = tmp_path / "runs/compare/done", tmp_path / "runs/compare/calm"
    assert subprocess.run([*command, "name=calm"], cwd=tmp_path).returncode == 0
    drawn = random.Random(times)
    killed([*command, "name=done"], tmp_path, folder, iter(lambda: drawn.uniform(2, 16), None), times)
    assert rows(folder) == rows(calm) and len(rows(folder)) == 3 * 8
    assert weights(folder) == weights(calm)
    tables = [re.split(r"\n## ", (where / "summary.md").read_text().partition("\n")[2]) for where in (folder, calm)]
    tables = [[part.replace("name=calm", "name=done") for part in table] for table in tables]
    assert tables[0][0] == tables[1][0] and tables[0][2] == tables[1][2]  # 1 has times and memory


@pytest.mark.skipif(os.name == "nt", reason="interrupts by signal")
def test_interrupt(place: Path, tmp_path: Path) -> None:
    """Ctrl-C would print a traceback, or leave runs behind."""
    shutil.copy(place / "start.pt", tmp_path)
    command = [*COMMAND, f"models={MODELS}", *RECIPE]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell in the background ignores
    )
    while not workers(tmp_path / "runs"):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on where it was" in said and "Traceback" not in said
    assert not workers(tmp_path / "runs")


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_resume(place: Path, tmp_path: Path) -> None:
    """A resumed run, which is another run than one in one go, would not be told from it."""
    shutil.copy(place / "start.pt", tmp_path)
    command = [
        *COMMAND,
        f"models={MODELS}",
        *set(RECIPE) - {"epochs=1", "seeds=2"},
        "epochs=4",
        "seeds=1",
        "resume=true",
        "name=done",
    ]
    folder = tmp_path / "runs/compare/done"
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = folder / "runs/yolov8n/seed0.part/train/weights/last.pt"
    while process.poll() is None and not zipfile.is_zipfile(last):  # it is there before it is whole
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(folder)["yolov8n", "0"]["resumed"] == "True"
    assert "1 of the runs of yolov8n were resumed" in (folder / "summary.md").read_text()
    assert len((folder / "runs/yolov8n/seed0/epochs.csv").read_text().splitlines()) == 5  # one after the other


def test_a_run_that_fails(place: Path, tmp_path: Path) -> None:
    """One model that fails would take the others with it, or go unnoticed."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    (tmp_path / "bomb.py").write_text(BOMB)
    base = yolo_attn.insert("yolov8n.yaml", "SE", "sppf", mode="plain")
    text = document.dump(base).replace("SE, []", "bomb.Bomb, []")
    (tmp_path / "yolov8n-bomb.yaml").write_text(text)
    command = [*COMMAND, f"models={MODELS},yolov8n-bomb.yaml", *RECIPE, "name=done"]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"yolov8n-bomb seed 0 failed: MemoryError: CUDA out of memory, say", done.stdout + done.stderr)
    folder = tmp_path / "runs/compare/done"
    assert "2 of the runs of yolov8n-bomb failed" in (folder / "summary.md").read_text()
    assert (folder / "results.csv").read_text().count("MemoryError: CUDA out of memory, say") == 2
    assert len(rows(folder)) == 6


def test_another_recipe(place: Path) -> None:
    """Runs of two recipes would be compared."""
    command = [*COMMAND, f"models={MODELS}", *RECIPE, "lr0=0.02", "name=done"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds runs with another recipe: train.lr0 (None, now 0.02)" in done.stderr


def test_report(place: Path, tmp_path: Path) -> None:
    """The report would need more than the result folder, or say something else."""
    for name in ("one", "two"):
        shutil.copytree(place / "runs/compare/done", tmp_path / name)
        for old in ("summary.md", "summary.png", "curves.png"):
            (tmp_path / name / old).unlink()
    table = yolo_attn.report(tmp_path / "one")
    assert [row["model"] for row in table] == ["yolov8n", "yolov8n-se", "yolov8n-se-control"]
    again, before = (
        (f / "summary.md").read_text().partition("\n")[2] for f in (tmp_path / "one", place / "runs/compare/done")
    )
    assert again == before
    pooled = yolo_attn.report(tmp_path / "one", tmp_path / "two")
    assert [row["model"] for row in pooled] == ["yolov8n-se", "yolov8n-se-control"]
    assert pooled[0]["difference"] == pytest.approx(table[1]["difference"])
    assert (tmp_path / "pooled/summary.png").exists() and "| yolov8n-se " in (
        tmp_path / "pooled/summary.md"
    ).read_text()
