"""Pretrained weights follow their layers, through loading and through written checkpoints."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from yolo_attn.patches import host

import yolo_attn

from .conftest import SHARED
from .models import (
    REORDERED,
    STARTING,
    TASKS,
    WEIGHTS,
    logged,
    needs_weights,
    outputs,
    same,
    scaled,
    seeded,
    transferred,
)


def test_weights_that_cannot_be_aligned() -> None:
    """Weights would be guessed, or dropped without a word."""
    source = seeded(scaled(host.load_yaml("yolo11.yaml")))
    model = host.build(yolo_attn.insert(scaled(host.load_yaml("yolov8.yaml")), "SE", "sppf"))
    with logged() as lines:
        model.load(source)
    assert any("matched by layer number only" in x and "row 2 (C2f) is the first that does" in x for x in lines)


def test_our_own_checkpoint_as_the_source() -> None:
    """Adding a second module to a trained model would cost the first one's weights."""
    d = scaled(host.load_yaml("yolov8.yaml"))
    first = yolo_attn.insert(d, "DAttention", "sppf")
    trained = seeded(first)
    with torch.no_grad():
        trained.model[10].gamma.fill_(0.5)
    second = seeded(yolo_attn.insert(first, "SE", "neck"))
    with logged() as lines:
        second.load(trained)
    assert all(torch.equal(a, b) for a, b in zip(outputs(second), outputs(trained), strict=True))
    (line,) = [x for x in lines if x.startswith("Transferred")]
    assert (
        line == "Transferred 371/371 tensors from the given model; 15 new in 3 inserted layers (17: SE, 21: SE, 25: SE)"
    )
    with logged() as lines:
        seeded(d).load(trained)
    assert "Transferred 355/355 tensors from the given model; 1 removed layer (10: DAttention) left out" in lines


@needs_weights
@pytest.mark.parametrize("name", STARTING)
def test_the_real_checkpoint(name: str) -> None:
    """On the official weights a shipped YAML would not compute what yolov8n computes, or not know a person."""
    stock, model = YOLO(str(WEIGHTS)), YOLO(name.replace("yolov8", "yolov8n"))
    with logged() as lines:
        model.load(str(WEIGHTS))
    assert any(x.startswith("Transferred 355/355 tensors from yolov8n.pt; ") for x in lines)
    assert model.names[0] == "person"
    assert same(outputs(model.model), outputs(stock.model.float()), name)


@pytest.mark.parametrize("name, task", TASKS.items())
def test_other_tasks(name: str, task: str) -> None:
    """A shipped YAML of another task would be taken for a detector, or not compute what Ultralytics' model computes."""
    stock, model = seeded(host.load_yaml(f"yolov8n-{task}.yaml")), YOLO(name.replace("yolov8", "yolov8n"))
    assert model.task == task
    tensors = len(stock.state_dict())
    assert transferred(model.model, stock) == (tensors, tensors)
    assert all(torch.equal(a, b) for a, b in zip(outputs(model.model), outputs(stock), strict=True))


@needs_weights
def test_written_checkpoint(tmp_path: Path) -> None:
    """The checkpoint would not be what every stock command takes, or lose weights without a word."""
    out = tmp_path / "my.pt"
    yolo_attn.insert("yolov8n.yaml", "SE", "neck", weights=WEIGHTS, out=out)
    model = YOLO(str(out))
    assert model.names[0] == "person" and model.task == "detect"
    assert all(torch.equal(a, b) for a, b in zip(outputs(model.model), outputs(YOLO(str(WEIGHTS)).model), strict=True))
    with pytest.raises(ValueError, match=r"tensors of .*yolov8n.pt have no place in the model, model.0"):
        yolo_attn.insert("yolov8s.yaml", "SE", "neck", weights=WEIGHTS, out=tmp_path / "bad.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["my.pt"]


@needs_weights
def test_map_before_any_training(run, tmp_path: Path) -> None:
    """Inserted layers would change mAP before they have learned anything, or stock commands not take the checkpoint."""
    shutil.copytree(SHARED / "data" / "coco8", tmp_path / "coco8")  # Ultralytics writes a cache beside the labels
    data = tmp_path / "coco8" / "coco8.yaml"
    options = {"data": str(data), "plots": False, "workers": 0, "verbose": False, "project": str(tmp_path)}
    want = YOLO(str(WEIGHTS)).val(**options).box.map
    assert want > 0.3
    for name in STARTING:
        got = YOLO(name.replace("yolov8", "yolov8n")).load(str(WEIGHTS)).val(**options).box.map
        assert got == (pytest.approx(want, abs=1e-3) if name in REORDERED else want), name
    edit = ("base=yolov8n.yaml", "module=DAttention", "at=sppf", f"weights={WEIGHTS}", "out=my.pt")
    assert run("yolo-attn", "insert", *edit).stdout == "wrote my.pt\n"  # what is logged is no result
    printed = [run("yolo", "val", f"model={m}", f"data={data}", "plots=False").stdout for m in ("my.pt", WEIGHTS)]
    mine, stock = (re.search(r"\n +all +4 +17.*", text)[0] for text in printed)
    assert mine == stock


def checkpoint(model: nn.Module, path: Path) -> Path:
    torch.save({"model": model, "train_args": {}}, path)
    return path


def test_all_of_a_checkpoint_follows(tmp_path: Path) -> None:
    """What a checkpoint holds beside its weights would be lost: keypoints, channels, the text of open vocabularies."""
    pose = scaled({**host.load_yaml("yolov8-pose.yaml"), "kpt_shape": [4, 2], "nc": 2, "channels": 1})
    source = checkpoint(seeded(pose), tmp_path / "pose.pt")
    yolo_attn.insert("yolov8n-pose.yaml", "SE", "sppf", weights=source, out=tmp_path / "pose_se.pt")
    made = YOLO(str(tmp_path / "pose_se.pt")).model
    assert made.yaml["kpt_shape"] == [4, 2] and made.yaml["channels"] == 1 and len(made.names) == 2
    world = checkpoint(seeded(scaled(host.load_yaml("yolov8-world.yaml"))).half().float(), tmp_path / "world.pt")
    yolo_attn.insert("yolov8n-world.yaml", "SE", "sppf", weights=world, out=tmp_path / "world_se.pt")
    want, got = (YOLO(str(p)).model for p in (world, tmp_path / "world_se.pt"))
    assert torch.equal(want.txt_feats, got.txt_feats)
    assert all(torch.equal(a, b) for a, b in zip(outputs(want), outputs(got), strict=True))


def test_a_module_in_the_place_of_a_layer() -> None:
    """A module that takes a layer's place would cost that layer's weights, or the log not say what is new."""
    d = scaled(host.load_yaml("yolov8.yaml"))
    stock = seeded(d)
    model = seeded(yolo_attn.replace(yolo_attn.replace(d, "C2fDCN", 8), "DeformConv", 7), like=stock)
    with logged() as lines:
        model.load(stock)
    new = "4 new in 2 inserted layers (7: DeformConv, 8: C2fDCN)"
    assert f"Transferred 355/355 tensors from the given model; {new}" in lines
    assert same(outputs(model), outputs(stock), REORDERED[0])
    back = seeded(d, like=stock)
    with logged() as lines:
        back.load(model)
    gone = "2 removed layers (7: DeformConv, 8: C2fDCN) left out"
    assert f"Transferred 355/355 tensors from the given model; {gone}" in lines
    assert same(outputs(back), outputs(stock))
    wider = seeded(yolo_attn.replace(d, "DeformConv", 7, [1024, 5, 2]), like=stock)
    assert transferred(wider, stock) == (354, 355)


def test_fusion_beside_a_concat() -> None:
    """A fusion would cost the weights behind the Concat, or change the output at the start."""
    d = scaled(host.load_yaml("yolov8.yaml"))
    stock = seeded(d)
    model = seeded(yolo_attn.insert(d, "iAFF", "concat", 256))
    assert transferred(model, stock) == (355, 355)
    assert all(torch.equal(a, b) for a, b in zip(outputs(model), outputs(stock), strict=True))
    with torch.no_grad():
        model.model[12].gamma.fill_(1)
    assert not torch.equal(outputs(model)[0], outputs(stock)[0])
    plain = yolo_attn.insert(d, "iAFF", 11, 512, mode="plain")
    assert plain == yolo_attn.replace(d, "iAFF", 11, 512) and plain["head"][1] == [[-1, 6], 1, "iAFF", [512]]
    assert yolo_attn.replace(plain, "Concat", 11, 1) == d
