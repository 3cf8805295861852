"""Modes of Ultralytics beside train, val and predict, on a model with an inserted module whose gate is open."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils import ASSETS

from .conftest import SHARED
from .models import WEIGHTS, needs_weights

COCO8 = SHARED / "data" / "coco8"
pytestmark = [pytest.mark.slow, needs_weights]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of YOLOv8n with deformable attention that acts."""
    torch.manual_seed(0)
    model = YOLO("yolov8n-dattn.yaml").load(str(WEIGHTS))
    with torch.no_grad():
        model.model.model[10].gamma.fill_(0.1)
    model.save(str(tmp_path / "mine.pt"))
    return tmp_path / "mine.pt"


def film(path: Path) -> None:
    """Eight frames in which a street moves to the right by ten pixels each."""
    street = cv2.resize(cv2.imread(str(ASSETS / "bus.jpg")), (320, 320))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (400, 320))
    for i in range(8):
        frame = np.zeros((320, 400, 3), np.uint8)
        frame[:, 10 * i : 10 * i + 320] = street
        writer.write(frame)
    writer.release()


def test_track(checkpoint: Path, run, tmp_path: Path) -> None:
    """A tracker would lose what it follows, or not run."""
    film(tmp_path / "street.avi")
    arguments = ("source=street.avi", "imgsz=320", "save_txt=True", "save=False", f"project={tmp_path}")
    run("yolo", "track", f"model={checkpoint}", *arguments)
    frames = [np.loadtxt(tmp_path / "track" / "labels" / f"street_{i}.txt", ndmin=2) for i in range(1, 9)]
    buses = [rows[rows[:, 0] == 5] for rows in frames]
    assert [len(each) for each in buses] == [1] * 8
    assert len({each[0, -1] for each in buses}) == 1  # the number of the track
    assert np.diff([each[0, 1] for each in buses]) == pytest.approx(10 / 400, abs=0.01)


def test_tune(run, tmp_path: Path) -> None:
    """Tuning, which trains in processes of its own, would end in errors that it logs and passes over."""
    shutil.copytree(COCO8, tmp_path / "coco8")
    (tmp_path / "tune.py").write_text(
        "from ultralytics import YOLO\nif __name__ == '__main__':\n    YOLO('yolov8n-dattn.yaml').tune("
        f"data={str(tmp_path / 'coco8' / 'coco8.yaml')!r}, epochs=1, iterations=2, imgsz=64, batch=4, plots=False, "
        f"workers=0, project={str(tmp_path)!r}, name='tuned')\n"
    )
    done = run("python", "tune.py")
    assert "2/2 iterations complete" in done.stdout
    results = (tmp_path / "tuned" / "tune_results.ndjson").read_text(encoding="utf-8")
    assert len(results.splitlines()) == 2 and "failed_datasets" not in results
    best = YOLO(str(tmp_path / "tuned" / "weights" / "best.pt")).model
    assert type(best.model[10].fn).__name__ == "DAttention" and best.model[10].gamma.abs().max() > 0


def test_benchmark(checkpoint: Path, run, tmp_path: Path) -> None:
    """A benchmark would not run, or be of models that find something else than the trained one."""
    shutil.copytree(COCO8, tmp_path / "coco8")  # Ultralytics writes caches beside the labels
    data = tmp_path / "coco8" / "coco8.yaml"
    for form in ("-", "onnx", "torchscript"):
        run("yolo", "benchmark", f"model={checkpoint}", f"data={data}", "imgsz=160", f"format={form}")
    log = (tmp_path / "benchmarks.log").read_text(encoding="utf-8")
    scores = [float(score) for score in re.findall(r"✅ +[\d.]+ +([\d.]+)", log)]  # behind the size in MB
    assert len(scores) == 3 and scores[0] > 0.2 and scores == pytest.approx([scores[0]] * 3, abs=0.005)
