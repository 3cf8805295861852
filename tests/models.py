"""What tests of insertions share: Ultralytics' models, seeded, and what they give."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import ultralytics
from torch import Tensor, nn
from ultralytics.utils import LOGGER
from yolo_attn.patches import host, lookup

from .conftest import SHARED

MODELS = {p.name: p for p in sorted((Path(ultralytics.__file__).parent / "cfg" / "models").rglob("*.yaml"))}


CANNOT = {"yolo11-cls-resnet18.yaml": "downloads torchvision's weights when it is built"}


WEIGHTS = SHARED / "weights" / "yolov8n.pt"


needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="needs the checkpoint of the shared folder")


SHIPPED = {p.name: p.read_text(encoding="utf-8") for p in sorted(lookup.CFG.glob("*.yaml"))}
TASKS = {n: found[1] for n in SHIPPED if (found := re.search(r"-(cls|obb|pose|seg)\.yaml$", n))}  # all but detection
STARTING = [n for n, text in SHIPPED.items() if n not in TASKS and "starting as yolov8" in text]
REORDERED = [n for n in STARTING if re.search("dcn|deformconv", n)]  # deform_conv2d sums in another order than conv2d


def same(one: list[Tensor], other: list[Tensor], name: str = "") -> bool:
    """Whether two models put out the same: to the bit, unless the YAML of that name sums in another order."""
    if name in REORDERED:  # boxes are in pixels of a 64-pixel image
        return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(one, other, strict=True))
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@contextmanager
def logged():
    """What Ultralytics logs meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    LOGGER.addHandler(handler)
    try:
        yield lines
    finally:
        LOGGER.removeHandler(handler)


def transferred(model: nn.Module, source: nn.Module) -> tuple[int, int]:
    """Load, and read the counts from the log."""
    with logged() as lines:
        model.load(source)
    (line,) = [x for x in lines if x.startswith("Transferred")]
    return tuple(map(int, re.match(r"Transferred (\d+)/(\d+) ", line).groups()))


def outputs(model: nn.Module) -> list[Tensor]:
    """All tensors that a model gives for one 64-pixel image."""
    torch.manual_seed(3)

    def flat(value) -> list[Tensor]:
        if isinstance(value, Tensor):
            return [value]
        values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
        return [t for each in values for t in flat(each)]

    with torch.no_grad():
        return flat(model.eval()(torch.rand(1, 3, 64, 64)))


def seeded(d: dict, like: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0 if like is None else 1)
    model = host.build(d)
    if hasattr(like, "txt_feats"):  # stands for the text of an open-vocabulary model, drawn at random
        model.txt_feats = like.txt_feats
    return model


def scaled(d: dict) -> dict:
    return {**d, "scale": d.get("scale") or next(iter(d.get("scales") or {}), "")}
