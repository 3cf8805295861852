"""What is inspected: the arguments of a preflight, and what the first checks make of the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import graph
from ..patches import host
from ..registry import suggest

SMALL = 4  # strides: as small as an image can be without maps of one pixel or two
ENDINGS = (".yaml", ".yml", ".pt")


@dataclass
class Subject:
    """A model on its way through the checks.

    Attributes:
        given: The YAML or checkpoint, or a model dictionary.
        imgsz: Size of the images in pixels, rounded up to the model's stride once it is built.
        batch: Images of a training step.
        device: Where the training would run.
        opset: ONNX opset of an export, or None for Ultralytics' choice.
        d: The model dictionary with its scale, once it is read; empty before, and where its rows have no form.
        source: The checkpoint's model, if a checkpoint is given.
        model: The model, once it is built.
        saved: Bytes that a training step at imgsz keeps for its backward pass, by row, for numbers of images.
    """

    given: Path | Mapping[str, Any]
    imgsz: int
    batch: int
    device: torch.device
    opset: int | None
    d: dict[str, Any] = field(default_factory=dict)
    source: Any = None
    model: Any = None
    saved: dict[int, dict[int, int]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The modules of the rows, with what Residual wraps behind it; "" for a row that has none."""
        return [_name(row) for row in graph.rows(self.d)] if self.d else []

    @property
    def stride(self) -> int:
        """The sides of images are multiples of it."""
        return max(int(max(self.model.stride)), 32)

    @property
    def small(self) -> tuple[int, int]:
        """Size of small images."""
        return (SMALL * self.stride, SMALL * self.stride)

    @property
    def fitting(self) -> tuple[int, int]:
        """Size of the images where a training step of that size fits into the memory, else of small ones."""
        return (self.imgsz, self.imgsz) if self.saved else self.small

    @property
    def head(self) -> int:
        """Number of the last row."""
        return len(self.names) - 1


def subject(
    model: str | os.PathLike | Mapping[str, Any], imgsz: int, batch: int, device: str | int | None, opset: int | None
) -> Subject:
    """Check the arguments of a preflight.

    Raises:
        ValueError: If one is not possible.
        FileNotFoundError: If there is no such file.
    """
    for name, value in (("imgsz", imgsz), ("batch", batch), *([("opset", opset)] if opset is not None else [])):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            example = {"imgsz": 640, "batch": 16, "opset": 17}[name]
            raise ValueError(f"{name}: a whole number from 1 is needed, got {value!r}. Write {name}={example}.")
    given = dict(model) if isinstance(model, Mapping) else _file(model)
    return Subject(given, imgsz, batch, one_device(device), opset)


def _name(row: Any) -> str:
    if not isinstance(row, (list, tuple)) or len(row) != 4:
        return ""
    wraps = row[2] == "Residual" and isinstance(row[3], (list, tuple)) and row[3]
    return f"{row[2]}[{row[3][0]}]" if wraps else str(row[2])


def _file(model: str | os.PathLike) -> Path:
    """The path of a YAML or checkpoint, of which a checkpoint must be here: nothing is downloaded."""
    path = Path(model) if isinstance(model, (str, os.PathLike)) else Path()
    if "://" in str(model) or path.suffix not in ENDINGS or path.is_dir():
        near = suggest(path.name, [p.name for p in path.parent.glob("*") if p.suffix in ENDINGS])
        raise ValueError(
            f"model: a YAML or a checkpoint (.pt) on this machine is needed, got {model}.{near} "
            "Write model=yolov8n-dattn.yaml, say."
        )
    if path.suffix != ".pt":
        host.yaml_path(path)  # raises where there is none
        return path
    if found := host.checkpoint(path):
        return found
    near = suggest(path.name, [p.name for p in path.parent.glob("*.pt")])
    raise FileNotFoundError(f"model: there is no checkpoint {model}, and none is downloaded.{near}")


def one_device(device: str | int | None) -> torch.device:
    """One device; by default the GPU that Ultralytics would take, or the CPU."""
    asked = str(device).lower() if device is not None else "0" if torch.cuda.is_available() else "cpu"
    name = f"cuda:{asked}" if asked.isdigit() else asked
    try:
        found = torch.device(name)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device: cpu or the number of one GPU of this machine is needed, got {device!r}. Write device=cpu."
        ) from error
    return found
