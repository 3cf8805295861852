"""Read-only questions to Ultralytics: which YAML is meant, what a model's layers give, and models to answer them."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import ultralytics
from torch import Tensor, nn
from ultralytics.nn import tasks
from ultralytics.utils import SETTINGS, checks

from ..registry import Spec, find
from ..rows import refuse_endless
from ..transfer import Layer
from .lookup import unscaled

Model = Any  # a DetectionModel and its kin, whose `model` is the Sequential of layers
Size = tuple[int, ...]
IMAGE = 64  # pixels; enough for strides up to 64
BY_HEAD = {
    "RTDETRDecoder": "RTDETRDetectionModel",
    "WorldDetect": "WorldModel",
    "YOLOEDetect": "YOLOEModel",
    "YOLOESegment": "YOLOESegModel",
    "YOLOESegment26": "YOLOESegModel",
}
BY_TASK = {
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
    "classify": "ClassificationModel",
    "semantic": "SemanticSegmentationModel",
    "depth": "DepthModel",
}


@dataclass(frozen=True)
class Map:
    """What a layer puts out, where that is one map: stride in pixels, and channels."""

    stride: int
    channels: int


def load_yaml(base: str | Path) -> dict[str, Any]:
    """The model dictionary that Ultralytics reads, with scale and yaml_file."""
    d = tasks.yaml_model_load(base)
    refuse_endless(f"{base}: a model", d)
    return d


def yaml_path(base: str | Path) -> Path:
    """The file that `load_yaml` reads."""
    path = Path(base)
    return Path(checks.check_yaml(str(path), hard=False) or checks.check_yaml(str(path.with_name(unscaled(path.name)))))


def scale_of(name: str | Path) -> str:
    """The scale letter in a file name, or ""."""
    return tasks.guess_model_scale(name)


def checkpoint(path: Path) -> Path | None:
    """The file of a checkpoint where Ultralytics looks before it downloads one, or None."""
    return next((p for p in (path, Path(SETTINGS["weights_dir"]) / path) if p.is_file()), None)


def open_checkpoint(path: Path) -> Model:
    """The model of a checkpoint, as `open_yolo` reads it."""
    return open_yolo(path).model


def open_yolo(path: Path) -> ultralytics.YOLO:
    """The YOLO object of a checkpoint. What its classes need is not installed, as Ultralytics would.

    Raises:
        ModuleNotFoundError, TypeError: If the file can't be read.
    """
    before, checks.AUTOINSTALL = checks.AUTOINSTALL, False
    try:
        return ultralytics.YOLO(str(path))
    finally:
        checks.AUTOINSTALL = before


def versions() -> dict[str, str]:
    """Versions of Ultralytics and of what it runs on."""
    return {
        "ultralytics": ultralytics.__version__,
        "torch": str(torch.__version__),
        "torchvision": metadata.version("torchvision"),
    }


def required(package: str) -> str:
    """The versions of a package that the installed plugin asks for, such as ">=8.3.20", or ""."""
    try:
        listed = metadata.requires("yolo-attn") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return ""
    return next((found[1] for each in listed if (found := re.match(rf"{package}\s*([<>=!~][^;]*)", each))), "")


def satisfies(version: str, required: str) -> bool:
    """Whether a version is among the required ones, ">=8.3.20,!=8.3.41"."""
    return checks.check_version(version, required)


def build(d: Mapping[str, Any]) -> Model:
    """The model of a dictionary, by the class that its head and task ask for."""
    head = d["head"][-1][2]
    name = BY_HEAD.get(head) or BY_TASK.get(tasks.guess_model_task(dict(d)) or "")
    if name is None:
        last = len(d["backbone"]) + len(d["head"]) - 1
        raise ValueError(
            f"row {last} ({head}): the last row must be a head of Ultralytics. Write Detect, Segment, Pose, OBB, say."
        )
    return getattr(tasks, name)(deepcopy(dict(d)), ch=d.get("channels", 3), nc=d.get("nc"), verbose=False)


def task_of(d: Mapping[str, Any]) -> str:
    """The task that a model's head is for."""
    return tasks.guess_model_task(dict(d))


def measure(d: Mapping[str, Any]) -> list[Map | None]:
    """Stride and channels of every layer of a model; None for a layer whose output is no single map.

    Raises:
        ValueError: If the model can't be built, or can't run on an image of 64 pixels.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            model = build(scaled(d)).eval()
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"the model can't be built: {error}") from error
        try:
            return maps(model)
        except (RuntimeError, TypeError, ValueError) as error:
            i = failed_at(error)
            layer = "" if i is None else f", layer {i} ({[*d['backbone'], *d['head']][i][2]})"
            raise ValueError(f"the model can't run{layer}: {error}") from error


def scaled(d: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary with the scale that Ultralytics takes, and doesn't have to warn of taking the first."""
    return {**d, "scale": d.get("scale") or next(iter(d.get("scales") or {}), "")}


def maps(model: Model) -> list[Map | None]:
    """Stride and channels of every layer of a built model, as `measure` gives them; the model is put in eval mode."""
    return [Map(IMAGE // s[2], s[0]) if isinstance(s, tuple) and len(s) == 3 else None for s in sizes(model, IMAGE)]


def sizes(model: Model, imgsz: int) -> list[Size | list[Size] | None]:
    """What every layer of a built model puts out for an image: the size of a tensor without its batch, (C, H, W) of a
    map; those of several; or None for anything else. The model is put in eval mode."""
    found: list[Size | list[Size] | None] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        several = isinstance(output, (list, tuple)) and all(isinstance(each, Tensor) for each in output)
        one = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
        found.append([tuple(each.shape[1:]) for each in output] if several else one)

    handles = [layer.register_forward_hook(note) for layer in model.model]
    try:
        with torch.no_grad():
            model.eval()(next(model.parameters()).new_zeros(1, model.yaml.get("channels", 3), imgsz, imgsz))
    finally:
        for handle in handles:
            handle.remove()
    return found


def inner(model: nn.Module) -> Model | None:
    """The model of layers that a YOLO holds, or that a model is itself; None where there is none."""
    for each in (model, getattr(model, "model", None)):
        if isinstance(getattr(each, "model", None), nn.Sequential) and isinstance(getattr(each, "yaml", None), Mapping):
            return each
    return None


def failed_at(error: BaseException) -> int | None:
    """Number of the row at which a model could not be built, or of the layer at which it could not run."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        local = frame.f_locals
        running = isinstance(local.get("self"), nn.Module) and hasattr(local["self"], "f")
        number = getattr(local["self"], "i", None) if running else local.get("i")
        if (running or frame.f_code.co_name == "parse_model") and isinstance(number, int):
            found = number
    return found if found is not None or error.__cause__ is None else failed_at(error.__cause__)


SHORT = {"k": "kernel_size", "s": "stride", "p": "padding", "g": "num_groups", "d": "dilation", "e": "expansion"}


def row_parameters(name: str) -> list[str]:
    """Names of what a row of a module, ours or Ultralytics', may pass by position; Ultralytics' short names in full."""
    spec = find(name)
    names = list(spec.parameters if spec else inspect.signature(getattr(tasks, name)).parameters)[1:]
    repeats = {"n"} if spec is None else {names[spec.channels == "out"]} if spec.repeats else set()
    return [SHORT.get(each, each) for each in names if each not in repeats]


def row_name(spec: Spec) -> str:
    """The name by which a YAML finds a registered class in every process."""
    if not spec.full_name.startswith("yolo_attn."):
        return spec.name if spec.cls.__module__ == "__main__" else spec.full_name
    return spec.name if vars(tasks).get(spec.name) is spec.cls else f"yolo_attn.{spec.name}"


def is_stock(name: Any) -> bool:
    """Whether a row's name is one of Ultralytics, of torch.nn or of torchvision.ops."""
    if not isinstance(name, str):
        raise TypeError(f"a row must name its module by a text, got {name!r}. Write Conv, say.")
    known = vars(tasks).get(name)
    layer = isinstance(known, type) and issubclass(known, nn.Module) and find(known) is None
    return layer or name.startswith(("nn.", "torchvision.ops."))


def spec_of(layer: nn.Module) -> Spec | None:
    """The Spec of a registered layer, also where it is repeated; None for a stock layer."""
    return find(type(layer[0] if type(layer) is nn.Sequential and len(layer) else layer))


def layers(model: Model) -> list[Layer]:
    """The layers of a built model, as `transfer.align` needs them."""
    return [_layer(each) for each in model.model]


def inserted(model: Model) -> dict[int, str]:
    """Number and name of the layers of a model that are registered modules."""
    return {i: layer.name for i, layer in enumerate(layers(model)) if layer.extra}


def stand_ins(model: Model) -> set[int]:
    """Numbers of those of them that stand for a stock layer."""
    return {i for i, layer in enumerate(layers(model)) if layer.stands_for}


def stock_layers(
    numbers: Iterable[int], ours: Collection[int], rows: int, stand_ins: Collection[int] = ()
) -> list[int]:
    """Numbers in a model of rows with ours inserted, of the layers that have these numbers in the stock model.

    A row in `stand_ins` is in the place of a stock layer, which is left out.
    """
    stock = [i for i in range(rows) if i not in ours or i in stand_ins]
    return [stock[i] for i in numbers if i < len(stock) and stock[i] not in ours]


def _layer(module: Any) -> Layer:
    spec = spec_of(module)
    if spec is None:
        kind = getattr(module, "type", None)  # a checkpoint of old may have none
        return Layer((kind if isinstance(kind, str) else type(module).__name__).rpartition(".")[2])
    inner = module[0] if type(module) is nn.Sequential else module
    name = type(inner.fn).__name__ if spec.channels == "wrap" else spec.name
    return Layer(f"{spec.name}[{name}]" if spec.channels == "wrap" else name, True, spec.stands_for, name)
