"""Half precision: validation as Ultralytics runs it on a GPU, and training on large activations."""

from __future__ import annotations

import copy
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.engine import trainer as stock_trainer
from ultralytics.engine import validator as stock_validator
from ultralytics.models.yolo.detect import DetectionTrainer
from yolo_attn.patches import footing

from yolo_attn.comparison import ap
from yolo_attn.registry import find

from .conftest import HALF_PRECISION, SHARED
from .models import SHIPPED, STARTING, TASKS, WEIGHTS, needs_weights
from .tiny import as_clip

pytestmark = [pytest.mark.slow, needs_weights]
DETECTORS = [name for name in SHIPPED if name not in TASKS]
TAKING = [*STARTING, "yolov8-sifa.yaml"]  # those that are yolov8n at first
CONFIDENT = 0.25  # Ultralytics' own threshold for predictions


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """COCO8, its 8 images all for validation; a copy, because Ultralytics writes caches beside the labels."""
    folder = tmp_path_factory.mktemp("coco8")
    shutil.copytree(SHARED / "data" / "coco8", folder, dirs_exist_ok=True)
    text = (folder / "coco8.yaml").read_text(encoding="utf-8")
    assert "\nval: images/val\n" in text
    text = text.replace("\nval: images/val\n", "\nval: [images/train, images/val]\n")
    (folder / "all.yaml").write_text(f"path: {folder}\n{text}", encoding="utf-8")
    return folder / "all.yaml"


@dataclass
class Validation:
    """What one validation gave: mAP50-95 on the labels, boxes of all images, and the maps that the head took."""

    mean_ap: float
    boxes: np.ndarray  # image, class, x0, y0, x1, y1, score
    maps: list[Tensor]


def validate(model: nn.Module, half: bool, data: Path, folder: Path) -> Validation:
    """The stock validation of a copy of a model.

    On the CPU Ultralytics leaves half precision out: its backend compares the device's name with "cpu". A CPU by the
    name of "cpu:0" goes the way of a GPU, `model.half()` and images in half precision; torch's kernels for half
    precision on a CPU are then what differs from a GPU. Where there is a GPU it is used, with nothing replaced.
    """
    taken: list[list[Tensor]] = []
    boxes: list[np.ndarray] = []

    def end(validator: Any) -> None:
        found = footing.detections(validator)
        assert found is not None and len(found[2]) == 8
        boxes.append(found[0])
        validator.jdict = []

    yolo = YOLO("yolov8n.yaml")
    yolo.model = copy.deepcopy(model)
    yolo.model.model[-1].register_forward_pre_hook(lambda _, x: taken.append(list(x[0])))
    yolo.add_callback("on_val_end", end)
    with pytest.MonkeyPatch.context() as patched:
        if not torch.cuda.is_available():
            patched.setattr(stock_validator, "select_device", lambda *_, **__: torch.device("cpu", 0))
        options = {"data": str(data), "imgsz": 320, "batch": 8, "plots": False, "verbose": False}
        found = yolo.val(half=half, save_json=True, project=str(folder), **options)
    assert {t.dtype for t in taken[-1]} == {torch.float16 if half else torch.float32} and len(taken[-1][0]) == 8
    return Validation(found.box.map, boxes[0], [t.double() for t in taken[-1]])  # warm-up took the maps before


@pytest.fixture(scope="module")
def both(tmp_path_factory, data):
    """Validations of a YAML with the checkpoint's weights, in single and in half precision, once."""
    folder, known = tmp_path_factory.mktemp("val"), {}

    def validated(name: str, at_work: bool) -> tuple[Validation, Validation]:
        if (name, at_work) not in known:
            torch.manual_seed(0)
            model = YOLO(name.replace("yolov8", "yolov8n", 1)).load(str(WEIGHTS)).model
            if at_work:
                set_to_work(model)
            known[name, at_work] = tuple(validate(model, half, data, folder) for half in (False, True))
        return known[name, at_work]

    return validated


def set_to_work(model: nn.Module) -> None:
    """Give values to what is constant in new modules: closed gates, offsets of zero, factors of one."""
    with torch.no_grad():
        for module in model.modules():
            if find(type(module)):
                for p in module.parameters():
                    if p.min() == p.max():
                        p.add_(torch.randn_like(p) * 0.05)


@pytest.mark.parametrize("name", TAKING)
def test_validation(name: str, both) -> None:
    """mAP50-95 on the labels of COCO8 would be another with half=True: a closed gate times infinity is not zero.

    Compared at 320 pixels. At 640 the stock yolov8n itself loses 0.016 of 0.713 on the 30 boxes, because Ultralytics
    decodes boxes in half precision, which from 512 pixels on knows half pixels only; with this step in single precision
    it loses 0.002.
    """
    single, half = both(name, at_work=False)
    assert single.mean_ap > 0.6
    assert half.mean_ap == pytest.approx(single.mean_ap, abs=HALF_PRECISION["mAP"])


@pytest.mark.parametrize("name", TAKING)
def test_validation_with_modules_at_work(name: str, both) -> None:
    """With open gates, half precision would find other boxes than single precision.

    Compared is mAP50-95 with the confident boxes of single precision for labels: all of them are then far above the
    IoU thresholds, where boxes near one would make a difference of 0.01 on 8 images by chance.
    """
    single, half = both(name, at_work=True)
    true = single.boxes[single.boxes[:, 6] >= CONFIDENT]
    assert len(true) > 10
    mean_ap, other = (average_precision(each.boxes, true) for each in (single, half))
    assert mean_ap > 0.99 and other == pytest.approx(mean_ap, abs=HALF_PRECISION["mAP"])


def average_precision(predicted: np.ndarray, true: np.ndarray) -> float:
    """mAP50-95 of boxes, as rows of image, class, corners and score."""
    boxes = ap.Boxes(predicted[:, 2:6], predicted[:, 1].astype(int), predicted[:, 0].astype(int), predicted[:, 6])
    truths = ap.Boxes(true[:, 2:6], true[:, 1].astype(int), true[:, 0].astype(int))
    return float(np.nanmean(ap.average_precision(ap.match(boxes, truths, 8, 80))[0]))


@pytest.mark.parametrize("at_work", [False, True])
@pytest.mark.parametrize("name", DETECTORS)
def test_what_the_head_takes(name: str, at_work: bool, both) -> None:
    """Modules would lose more to half precision than layers of YOLOv8, in models too that detect nothing untrained."""
    single, half = both(name, at_work)
    for one, other in zip(single.maps, half.maps, strict=True):
        assert float((one - other).std() / one.std()) < HALF_PRECISION["maps"]


@pytest.mark.parametrize("precision", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["dattn-plain", "gct", "iaff", "crossformer", "msda", "slpt", "sifa"])
def test_training_on_large_activations(name: str, precision: torch.dtype, data: Path, tmp_path, monkeypatch) -> None:
    """Losses or weights would become NaN, though what a module takes is in the range of half precision.

    Images are 1000 times as bright, and what the first registered module takes is 1000 times as large: BatchNorm brings
    the former back to where they were. Ultralytics has no mixed precision on CPUs, whose autocast and scaler of torch
    stand in for those of a GPU.
    """
    losses: list[float] = []
    largest: list[float] = []
    context = ExitStack()

    def enlarge(maps: Any) -> Any:
        if not isinstance(maps, Tensor):
            return [enlarge(each) for each in maps]
        largest.append(1000 * float(maps.detach().abs().max()))
        return 1000 * maps

    def start(trainer: Any) -> None:
        first = next(layer for layer in trainer.model.model if find(type(layer)))
        first.register_forward_pre_hook(lambda _, x: (enlarge(x[0]),))
        context.enter_context(as_clip(trainer.model, frames=2))
        if precision == torch.float16:
            trainer.scaler = torch.amp.GradScaler("cpu")

    stock = DetectionTrainer.preprocess_batch

    def brighter(trainer: Any, batch: dict) -> dict:
        batch = stock(trainer, batch)
        return {**batch, "img": 1000 * batch["img"]}

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", brighter)
    mixed = torch.autocast("cpu", precision, enabled=precision != torch.float32)
    monkeypatch.setattr(stock_trainer, "autocast", lambda *_, **__: mixed)
    model = YOLO(f"yolov8n-{name}.yaml").load(str(WEIGHTS))
    model.add_callback("on_train_start", start)
    model.add_callback("on_train_batch_end", lambda trainer: losses.append(trainer.loss.item()))
    options = {"imgsz": 96, "batch": 2, "nbs": 2, "epochs": 2, "workers": 0, "warmup_epochs": 0, "device": "cpu"}
    with context:
        model.train(data=str(data), optimizer="SGD", plots=False, val=False, project=str(tmp_path), **options)
    assert len(losses) == 4 and np.isfinite(losses).all()
    assert max(largest) > 1000
    for trained in (model.trainer.model, model.trainer.ema.ema):
        assert all(v.isfinite().all() for v in trained.state_dict().values())
