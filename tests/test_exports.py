"""Every packaged model exported: on real images it finds what it found in PyTorch."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.utils.nms import non_max_suppression

from yolo_attn import export_safe
from yolo_attn.modules import Residual

from .conftest import SHARED
from .contract.exports import RUN
from .models import SHIPPED, STARTING, WEIGHTS, needs_weights

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
    with export_safe() if safe else nullcontext():
        file = YOLO(checkpoint).export(format=kind, imgsz=IMGSZ)
    net = copy.deepcopy(YOLO(checkpoint).model).float().eval().fuse(verbose=False)
    images = [cv2.resize(cv2.imread(str(path)), (IMGSZ, IMGSZ)) for path in sorted(IMAGES.glob("*.jpg"))]
    batches = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in images]
    found = 0
    for x, got in zip(batches, RUN[kind](Path(file), [x.numpy() for x in batches]), strict=True):
        with torch.no_grad():
            want = net(x)[0]
        want = want[0] if isinstance(want, (tuple, list)) else want
        got = torch.from_numpy(got)
        largest = want.abs().amax((0, 2), keepdim=True).clamp(min=1)  # of each coordinate; scores count as they are
        assert ((got - want).abs() / largest).max() < 1e-4
        nc = len(net.names)
        boxes, others = (non_max_suppression(each, CONF, nc=nc)[0][:, :6] for each in (want, got))
        far = torch.cdist(boxes, others, compute_mode="donot_use_mm_for_euclid_dist")  # in pixels, scores, classes
        alone = sum(int((far.amin(axis) > 0.01).sum()) for axis in (0, 1)) if len(boxes) and len(others) else 0
        # of the hundred boxes of an untrained model one may be at a threshold
        assert (
            alone <= (0 if name in STARTING else 0.02 * (len(boxes) + len(others)))
            and abs(len(others) - len(boxes)) <= alone
        )
        found += len(boxes)
    assert found >= 4 or name not in STARTING


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "openvino"])
def test_predicted_by_ultralytics(kind: str, tmp_path: Path) -> None:
    """An exported file would not load where `yolo predict` runs it."""
    checkpoint = model("yolov8-dattn.yaml", tmp_path)
    file = YOLO(checkpoint).export(format=kind, imgsz=IMGSZ)
    options = {"imgsz": IMGSZ, "conf": CONF, "rect": False, "verbose": False}
    wanted, found = (YOLO(each, task="detect").predict(IMAGES, **options) for each in (checkpoint, file))
    for want, got in zip(wanted, found, strict=True):
        # OpenVINO computes in bfloat16 where the CPU can
        np.testing.assert_allclose(got.boxes.xyxy, want.boxes.xyxy, rtol=0, atol=5 if kind == "openvino" else 0.05)


@pytest.mark.parametrize("opset", [14, 16])
def test_old_opset(opset: int, tmp_path: Path) -> None:
    """An export for an older runtime would stop, since GridSample came with opset 16."""
    model = YOLO("yolov8n-dattn.yaml")
    model.model.pt_path = str(tmp_path / "model.pt")
    file = onnx.load(model.export(format="onnx", opset=opset, imgsz=64, simplify=False))
    assert [each.version for each in file.opset_import if not each.domain] == [opset]
    assert any(node.op_type == "GridSample" for node in file.graph.node) is (opset == 16)
