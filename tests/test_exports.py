"""Every packaged model exported: on real images it finds what it found in PyTorch."""

from __future__ import annotations

import copy
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO

from yolo_attn import export_safe
from yolo_attn.modules import Residual

from .conftest import SHARED
from .contract.exports import RUN
from .models import SHIPPED, STARTING, TASKS, WEIGHTS, needs_weights

IMGSZ, CONF = 320, 0.25
IMAGES = SHARED / "data" / "coco8" / "images" / "val"
BY_OPENVINO = [f"yolov8-{name}.yaml" for name in ("dattn", "se", "gct", "iaff", "msda", "deformconv", "dcn")]
BY_GATHERS = [f"yolov8-{name}.yaml" for name in ("dattn", "msda", "depatch", "slpt", "dcn")]
EACH = [
    *((name, kind, False) for kind in ("onnx", "torchscript") for name in SHIPPED),
    *((name, "openvino", False) for name in BY_OPENVINO),
    *((name, "onnx", True) for name in BY_GATHERS),
]


def model(name: str, folder: Path) -> Path:
    """A checkpoint of the model at scale n with the weights of yolov8n.pt, whose gates are open."""
    torch.manual_seed(0)
    yolo = YOLO(name.replace("yolov8", "yolov8n"))
    yolo.load(str(WEIGHTS))
    gates = [m.gamma for m in yolo.model.modules() if isinstance(m, Residual)]
    for gamma in gates:
        nn.init.normal_(gamma, std=0.05)
    for offsets in (
        m for key, m in yolo.model.named_modules() if key.endswith("conv_offset") and not list(m.children())
    ):
        nn.init.normal_(offsets.weight, std=0.02)  # of deformable convolutions and windows, zero at the start
    path = folder / f"{Path(name).stem}.pt"
    yolo.save(str(path))
    return path


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("name, kind, safe", EACH)
def test_same_on_real_images(name: str, kind: str, safe: bool, tmp_path: Path) -> None:
    """An exported model would build, run, and find other objects."""
    checkpoint = model(name, tmp_path)
    images = [shutil.copy(image, tmp_path) for image in sorted(IMAGES.glob("*.jpg"))]
    assert images
    with export_safe() if safe else nullcontext():
        file = YOLO(checkpoint).export(format=kind, imgsz=IMGSZ)
    task = TASKS.get(name, "detect").replace("seg", "segment")
    options = {"imgsz": IMGSZ, "conf": CONF, "rect": False, "verbose": False, "save": False}
    wanted = YOLO(checkpoint).predict(images, **options)
    found = YOLO(file, task=task).predict(images, **options)
    for want, got in zip(wanted, found, strict=True):
        a, b = (result.boxes.data.numpy() for result in (want, got))
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=0.05)  # pixels; sorted by score
    if name in STARTING:
        assert sum(len(result.boxes) for result in wanted) >= 4
    image = torch.rand(1, 3, IMGSZ, IMGSZ)  # what no threshold hides
    with torch.no_grad():
        raw = copy.deepcopy(YOLO(checkpoint).model).float().eval().fuse(verbose=False)(image)[0]
    raw = (raw[0] if isinstance(raw, (tuple, list)) else raw).numpy()
    (answer,) = RUN[kind](Path(file), [image.numpy()])
    scale = np.abs(raw).max((0, 2), keepdims=True)
    assert (np.abs(answer - raw) / scale).max() < 1e-3
