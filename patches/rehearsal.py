"""What Ultralytics does with a model, done once and in memory: a training step's loss, an export, a model of shapes."""

from __future__ import annotations

import copy
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from ultralytics.cfg import get_cfg
from ultralytics.utils import LOGGER

from .export import sampling
from .host import Model

GRAINS = (1, 4, 16, 64)  # pixels
OBJECTS = 16  # per image
TEXT = 512  # width of the texts' features of open-vocabulary models


def images(model: Model, number: int, size: Sequence[int]) -> Tensor:
    """Drawn images (N, C, H, W) with detail of every size, the same in every call, on the model's device."""
    drawn, channels = torch.Generator().manual_seed(0), model.yaml.get("channels", 3)
    layers = [
        F.interpolate(torch.rand(number, channels, *(-(-side // grain) for side in size), generator=drawn), tuple(size))
        for grain in GRAINS
    ]
    return torch.stack(layers).mean(0).to(next(model.parameters()).device)


def loss(model: Model, x: Tensor) -> Tensor:
    """What `yolo train` calls backward on, for images (N, C, H, W) and drawn labels; the model is in training mode."""
    return prepared(model)(labelled(model, x))[0].sum()


def prepared(model: Model) -> Model:
    """The model itself, as a trainer has it before the first step."""
    model.args, model.nc = get_cfg(), model.yaml["nc"]
    if hasattr(model, "criterion"):  # that of other classes
        del model.criterion
    return model.train()


def labelled(model: Model, x: Tensor) -> dict[str, Any]:
    """A batch as Ultralytics' data sets make it, with the labels of every task."""
    b, _, h, w = x.shape
    n, nc = b * OBJECTS, model.yaml["nc"]
    points, with_visibility = model.yaml.get("kpt_shape", (17, 3))
    drawn = torch.Generator().manual_seed(1)
    centre, size = torch.rand(2, n, 2, generator=drawn)
    boxes = torch.cat([0.25 + centre / 2, 0.2 + 0.3 * size], 1)
    classes = torch.randint(nc, (n, 1), generator=drawn)
    objects = torch.randint(OBJECTS + 1, (b, h // 4, w // 4), generator=drawn)
    visible = torch.ones(n, points, with_visibility - 2)
    task = model.task
    batch = {
        "cls": classes[::OBJECTS, 0] if task == "classify" else classes.float(),
        "bboxes": torch.cat([boxes, torch.zeros(n, 1)], 1) if task == "obb" else boxes,
        "batch_idx": torch.arange(b).repeat_interleave(OBJECTS).float(),
        "keypoints": torch.cat([boxes[:, None, :2].repeat(1, points, 1), visible], 2),
        "masks": objects.float(),
        "sem_masks": objects % nc,
        "semantic_mask": torch.randint(nc, (b, h, w), generator=drawn),
        "depth": 1 + torch.rand(b, 1, h, w, generator=drawn),
        "txt_feats": torch.randn(b, nc, TEXT, generator=drawn),
    }
    return {"img": x, "resized_shape": [(h, w)] * b, **{name: value.to(x.device) for name, value in batch.items()}}


@contextmanager
def shapes() -> Iterator[None]:
    """New tensors have a shape and no values, so that a large model costs little; numbers given as such stay."""
    with torch.device("meta"), _Numbers():
        yield


class _Numbers(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **({"device": "cpu"} if func is torch.tensor else {}) | (kwargs or {}))


def exported(model: Model, x: Tensor, opset: int) -> bytes:
    """The model as ONNX, as `yolo export` makes it.

    Raises:
        RuntimeError: If an operator can't be exported, or not with this opset, or onnx is not installed.
    """
    model = copy.deepcopy(model).float().eval().requires_grad_(False)
    model.fuse(verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export, module.format = True, "onnx"
    file = io.BytesIO()
    plain: dict[str, Any] = {"dynamo": False} if "dynamo" in signature(torch.onnx.export).parameters else {}
    export: Callable = torch.onnx.export  # takes a file too
    with torch.no_grad(), _no_graph(), sampling("onnx", opset):
        model(x)  # a head keeps sizes of its input, which are to be no part of the graph
        export(model, (x,), file, opset_version=opset, **plain)
    return file.getvalue()


@contextmanager
def _no_graph() -> Iterator[None]:
    """PyTorch prints the whole graph, past Python, where an operator of it can't be exported. It is kept from that."""
    choose = getattr(torch._C, "_jit_set_onnx_log_output_stream", None)
    if choose is None:
        yield
        return
    stream = 2  # what goes there is not buffered
    before, nowhere = os.dup(stream), os.open(os.devnull, os.O_WRONLY)
    choose("stderr")
    os.dup2(nowhere, stream)
    try:
        yield
    finally:
        os.dup2(before, stream)
        choose("stdout")
        os.close(before)
        os.close(nowhere)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged meanwhile, and nobody's random numbers are used up."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    LOGGER.addFilter(refuse)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            yield
    finally:
        LOGGER.removeFilter(refuse)
