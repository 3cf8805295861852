"""Runs on the same footing, with every supported Ultralytics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO
from yolo_attn.patches import footing, host

from yolo_attn import document
from yolo_attn.comparison import ap, train

from ..conftest import SHARED

COCO8 = SHARED / "data" / "coco8"
RECIPE: dict[str, Any] = {"data": "shapes.yaml", "epochs": 1, "imgsz": 32, "batch": 8, "fraction": 0.05, "plots": False}


def save(path: Path) -> None:
    """Write a checkpoint; `YOLO.save` of older releases can't before training."""
    torch.save({"model": YOLO("yolov8n.yaml").model, "train_args": {}}, path)


class Enough(Exception):
    """The run has begun, which is all that is needed."""


def beginning(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """How a run of a comparison begins: the images of its first batch, their pixels, and new weights of its model."""
    seen: list[Any] = []

    def begin(trainer: Any) -> None:
        seed_loader(trainer)
        batch = next(iter(trainer.train_loader))
        seen.extend((list(batch["im_file"]), batch["img"].float(), trainer.model.model[10].fn.proj_q.weight.clone()))
        raise Enough

    seed_loader = footing.seed_loader
    with monkeypatch.context() as patched:
        patched.setattr(footing, "seed_loader", begin)
        text = document.dump(host.load_yaml("yolov8n-dattn.yaml"))
        recipe = {k: v for k, v in RECIPE.items() if k != "data"}
        job = train.Job(
            "yolov8n-dattn", seed, text, recipe, "shapes.yaml", ("val",), str(folder / "start.pt"), "cpu", 1
        )
        (folder / "run").mkdir(exist_ok=True)
        with pytest.raises(Enough):
            train._fit(job, folder / "run", None)
    return seen[0], seen[1], seen[2]


def test_seeds_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several seeds would be one: the same order of images, the same augmentation, the same new layers."""
    save(tmp_path / "start.pt")
    # Older releases draw more when they do something for the first time; each run has a process of its own
    _, first, again, other = (beginning(seed, tmp_path, monkeypatch) for seed in (0, 0, 0, 1))
    assert len(first[0]) == 8 and first[0] == again[0] != other[0]
    assert torch.equal(first[1], again[1]) and not torch.equal(first[1], other[1])
    assert torch.equal(first[2], again[2]) and not torch.equal(first[2], other[2])


def test_threads() -> None:
    """Ultralytics' own number of threads would count, which depends on the machine."""
    before = torch.get_num_threads()
    footing.set_threads(before + 1)
    assert torch.get_num_threads() == before + 1
    footing.set_threads(0)
    assert torch.get_num_threads() == before + 1
    footing.set_threads(before)


def detections(model: str, data: str, folder: Path) -> tuple[Any, ...]:
    """Metrics of a validation, and what `footing.detections` gives of it."""
    seen: list[Any] = []

    def end(validator: Any) -> None:
        seen.extend(footing.detections(validator))
        validator.jdict = []

    yolo = YOLO(model)
    yolo.add_callback("on_val_end", end)
    metrics = yolo.val(data=data, imgsz=160, save_json=True, plots=False, project=str(folder), name="val")
    return metrics, *seen


def test_every_image_and_box(tmp_path: Path) -> None:
    """Boxes would come with the wrong image, or those of an image without predictions would be missing."""
    torch.manual_seed(0)
    save(tmp_path / "start.pt")
    _, predicted, true, files = detections(str(tmp_path / "start.pt"), "shapes.yaml", tmp_path)
    assert len(files) == 96 == len(set(files)) and files == sorted(files)
    assert set(predicted[:, 0]) <= set(range(96)) and len(set(true[:, 0])) > 90
    labels = Path(files[0]).parents[2] / "labels" / "val"
    lines = [(labels / f"{Path(f).stem}.txt").read_text().splitlines() for f in files]
    assert [len(each) for each in lines] == [int((true[:, 0] == i).sum()) for i in range(96)]
    assert (true[:, 4:6] > true[:, 2:4]).all() and 250 < true[:, 2:6].max() < 321


@pytest.mark.skipif(not COCO8.exists(), reason="needs the images and the checkpoint of the shared folder")
def test_precision(tmp_path: Path) -> None:
    """Boxes would come with the wrong class or scale, and the interval over images would be that of other numbers."""
    shutil.copytree(COCO8, tmp_path / "coco8")  # Ultralytics writes caches beside the labels
    data = str(next((tmp_path / "coco8").glob("*.yaml")))
    metrics, predicted, true, files = detections(str(SHARED / "weights" / "yolov8n.pt"), data, tmp_path)
    boxes = ap.Boxes(predicted[:, 2:6], predicted[:, 1].astype(int), predicted[:, 0].astype(int), predicted[:, 6])
    truths = ap.Boxes(true[:, 2:6], true[:, 1].astype(int), true[:, 0].astype(int))
    own = ap.average_precision(ap.match(boxes, truths, len(files), 80))[0]
    theirs = np.full((80, 10), np.nan)
    theirs[metrics.box.ap_class_index] = metrics.box.all_ap
    assert (np.isnan(own) == np.isnan(theirs)).all() and np.nanmax(theirs) > 0.5
    off = np.abs(own - theirs) > 0.05  # Ultralytics joins the points of the curve by lines, COCO by steps
    assert off.sum() <= 1  # predictions in a file are rounded, which may carry one over a threshold
