"""Messages that a stock Ultralytics and PyTorch give, without the plugin: `python stock_errors.py`, in a folder.

It prints a line for each of them. docs/troubleshooting.md has them as headings.
"""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import ultralytics.nn.modules.block as block
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils import LOGGER

assert "yolo_attn" not in sys.modules
SPPF = 9


def model(*row: object, at: int = SPPF + 1, renumber: bool = True) -> dict:
    """yolov8n with a row inserted, and `from` of the rows behind it renumbered, or not."""
    d = copy.deepcopy(yaml_model_load("yolov8n.yaml"))
    for each in d["head"] if renumber else []:
        each[0] = [i + (i >= at) for i in each[0]] if isinstance(each[0], list) else each[0] + (each[0] >= at)
    d["backbone"].append([-1, 1, *row])
    return d


def build(d: dict) -> DetectionModel:
    return DetectionModel(d, verbose=False)


def transferred() -> None:
    build(model("nn.Identity", [])).load(DetectionModel("yolov8n.yaml", verbose=False))


class Gone(nn.Module):
    """A class of an edited copy."""


def gone() -> None:
    Gone.__module__, Gone.__qualname__ = block.__name__, "DAttention"
    block.DAttention = Gone
    torch.save({"model": Gone(), "train_args": {}}, "old.pt")
    del block.DAttention
    YOLO("old.pt")


def main_class() -> None:
    Path("save.py").write_text(
        "import torch\nclass Gate(torch.nn.Module): pass\ntorch.save({'model': Gate(), 'train_args': {}}, 'main.pt')\n"
    )
    import subprocess

    subprocess.run([sys.executable, "save.py"], check=True)
    YOLO("main.pt")


class Sampler(nn.Module):
    def forward(self, x):
        return nn.functional.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False)


class Pool(nn.Module):
    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(x, 3)


class Deform(nn.Module):
    def forward(self, x):
        from torchvision.ops import deform_conv2d

        return deform_conv2d(x, torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 1, 1))


def onnx(module: nn.Module, opset: int) -> None:
    torch.onnx.export(module, torch.zeros(1, 1, 8, 8), "out.onnx", opset_version=opset, dynamo=False)


def half(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.grid_sample(x.half(), torch.zeros(1, 2, 2, 2), align_corners=False)


CASES: dict[str, Callable[[], object]] = {
    "cbam": lambda: build(model("CBAM", [1024])),
    "yaml": lambda: YOLO("yolov8n-dattn.yaml"),
    "transferred": transferred,
    "channels": lambda: build(model("nn.Conv2d", [1024, 1024, 1])),
    "not renumbered": lambda: build(model("nn.AvgPool2d", [2, 2], renumber=False)),
    "index": lambda: build(model("nn.Identity", []) | {"head": [[[15, 18, 40], 1, "Detect", ["nc"]]]}),
    "scale": lambda: YOLO(Path(ultralytics_cfg(), "yolov8.yaml")),
    "gone": gone,
    "main": main_class,
    "weights_only": lambda: torch.load("old.pt"),
    "batch norm": lambda: nn.BatchNorm2d(16)(torch.zeros(1, 16, 1, 1)),
    "half": lambda: half(torch.zeros(1, 1, 4, 4)),
    "opset": lambda: onnx(Sampler(), 12),
    "pool": lambda: onnx(Pool(), 17),
    "deform": lambda: onnx(Deform(), 17),
    "arguments": lambda: build(model("nn.GroupNorm", [8])),
}


def ultralytics_cfg() -> str:
    import ultralytics

    return str(Path(ultralytics.__file__).parent / "cfg" / "models" / "v8")


class Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said.append(record.getMessage())


said: list[str] = []

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    LOGGER.addHandler(Log())
    for name, case in CASES.items():
        said.clear()
        try:
            case()
        except Exception as error:  # the messages are what is asked for
            said.append(f"{type(error).__name__}: {error}")
        print(f"== {name}:", " | ".join(" ".join(each.split()) for each in said), flush=True)
