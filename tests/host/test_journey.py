"""The way of a user on every supported Ultralytics: from a checkpoint through a training to a prediction elsewhere."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from ..models import WEIGHTS, transferred


@pytest.mark.slow
@pytest.mark.parametrize("model, new", [
    ("yolov8n-dattn.yaml", "16 new in 1 inserted layer (10: DAttention)"),
    ("yolov8n-se.yaml", "5 new in 1 inserted layer (10: SE)"),
])  # fmt: skip
def test_train_and_predict(model: str, new: str, run, data: Path, tmp_path: Path) -> None:
    """A supported Ultralytics would lose weights on the way, not train the module, or not load best.pt again."""
    if WEIGHTS.exists():
        shutil.copy(WEIGHTS, tmp_path)
    else:
        torch.save({"model": YOLO("yolov8n.yaml").model, "train_args": {}}, tmp_path / "yolov8n.pt")
    recipe = ("epochs=1", "imgsz=64", "batch=4", "nbs=4", "plots=False", "workers=0")
    arguments = ("pretrained=yolov8n.pt", f"data={data}", f"project={tmp_path}", *recipe)
    done = run("yolo", "train", f"model={model}", *arguments)
    assert f"Transferred 355/355 tensors from yolov8n.pt; {new}" in done.stdout
    assert len(list(csv.DictReader((tmp_path / "train" / "results.csv").open()))) == 1
    best = tmp_path / "train" / "weights" / "best.pt"
    assert YOLO(str(best)).model.model[10].gamma.abs().max() > 0
    source = tmp_path / "shapes" / "images" / "val"
    options = ("imgsz=64", "conf=1e-6", "max_det=3", "save_txt=True", "save=False", f"project={tmp_path}")
    run("yolo", "predict", f"model={best}", f"source={source}", *options, cwd=tmp_path / "shapes")
    found = sorted((tmp_path / "predict" / "labels").glob("*.txt"))
    assert [file.stem for file in found] == sorted(file.stem for file in source.iterdir())


@pytest.mark.parametrize("classes", [80, 6])
@pytest.mark.parametrize("name", ["yolov8n-dattn.yaml", "yolov8n-se.yaml", "yolov8n-msda.yaml"])
def test_as_many_weights_as_the_stock_model(name: str, classes: int) -> None:
    """An inserted row would cost weights; how many fit a head of other classes is each Ultralytics' own matter."""
    source = YOLO("yolov8n.yaml").model
    stock, ours = (DetectionModel(each, nc=classes, verbose=False) for each in ("yolov8n.yaml", name))
    assert transferred(ours, source) == transferred(stock, source)
