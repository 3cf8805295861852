"""A training step and an export of each task's model, as every supported Ultralytics has them."""

from __future__ import annotations

import pytest
import torch
from yolo_attn.patches import host, rehearsal

NAMES = ["yolov8n.yaml", "yolov8n-seg.yaml", "yolov8n-pose.yaml", "yolov8n-obb.yaml", "yolov8n-cls.yaml"]


@pytest.mark.parametrize("name", [*NAMES, "yolov8n-dattn.yaml", "yolov8n-rtdetr.yaml"])
def test_loss(name: str) -> None:
    """A preflight would not train what Ultralytics trains, or leave a part of the loss without objects."""
    d = host.load_yaml(name)
    with rehearsal.quiet():
        model = host.build(d)
        model.task = host.task_of(d)
        loss = rehearsal.loss(model, rehearsal.images(model, 3, (128, 128)))  # 8.4.0 takes two images' masks for a pair
    loss.backward()
    assert loss.isfinite()
    assert [k for k, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    for name, part in model.model[-1].named_children():
        assert not list(part.parameters()) or name == "dfl" or any(p.grad.any() for p in part.parameters()), name


def test_export() -> None:
    """What a preflight says of exports would be about another graph."""
    with rehearsal.quiet():
        model = host.build(host.load_yaml("yolov8n-dattn.yaml"))
        graph = rehearsal.exported(model, rehearsal.images(model, 1, (64, 64)), 18)
    assert b"GridSample" in graph
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())  # it was a copy that was fused


def test_where_a_model_failed() -> None:
    """A mistake would be put down to another row, or to none."""
    d = host.load_yaml("yolov8n.yaml")
    for row, args, number in ((9, [1024, "x"], 9), (13, [256, 7, 7], 14)):  # in its constructor; two rows on
        d = host.load_yaml("yolov8n.yaml")
        rows = [*d["backbone"], *d["head"]]
        rows[row][2:] = ["SPPF" if row == 9 else "Conv", args]
        with pytest.raises(Exception) as error, rehearsal.quiet():
            host.build(d)
        assert host.failed_at(error.value) == number
