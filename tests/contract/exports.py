"""Exports of every module by Ultralytics' exporter, compared with PyTorch.

`python -m tests.contract.exports` writes what it measures into the table of README.md.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from tabulate import tabulate
from ultralytics import YOLO

from yolo_attn import export_safe

from ..tiny import NAMES, detector, generic

SIZES = ((64, 64), (96, 160))  # height and width of images
KINDS = {  # heading in the table: format, and whether height, width and batch are open
    "ONNX": ("onnx", False),
    "ONNX, dynamic": ("onnx", True),
    "TorchScript": ("torchscript", False),
    "OpenVINO": ("openvino", False),
    "OpenVINO, dynamic": ("openvino", True),
}
PAGE = Path(__file__).parents[2] / "README.md"
TABLE = re.compile(r"(?<=<!-- exports -->\n).*?(?=<!-- /exports -->)", re.DOTALL)


def built(name: str, folder: Path) -> YOLO:
    """A detector with the tiny instance of a module, generic like it."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(detector(name)))
    torch.manual_seed(0)
    model = YOLO(str(path), task="detect")
    for layer in model.model.model[:-1]:  # the head's convolution of bins is a constant
        generic(layer)
    for branch in model.model.model[-1].cv3:
        torch.nn.init.zeros_(branch[-1].bias)  # scores around a half, not of one in thousands
    model.model.eval().pt_path = str(path.with_suffix(".pt"))  # beside which an export is written
    return model


def error(name: str, kind: str, folder: Path, dynamic: bool = False, safe: bool = False) -> float:
    """Largest difference of exported models to PyTorch, each coordinate and score over its largest value.

    There are two sizes of images: one file for each, or one for both where it is dynamic.
    """
    model, differences = built(name, folder), []
    options = {"simplify": False} if kind == "onnx" else {}
    for sizes in [SIZES] if dynamic else [[size] for size in SIZES]:
        images = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) for size in sizes]
        with torch.no_grad():
            wanted = [model.model(image)[0].numpy() for image in images]
        with export_safe() if safe else nullcontext():
            file = model.export(format=kind, imgsz=list(sizes[0]), dynamic=dynamic, **options)
        answers = RUN[kind](Path(file), [image.numpy() for image in images])
        differences += [np.abs(a - b).max((0, 2)) / np.abs(b).max((0, 2)) for a, b in zip(answers, wanted, strict=True)]
    return float(np.max(differences))


def _onnx(file: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"images": image})[0] for image in images]


def _openvino(folder: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(next(folder.glob("*.xml")), "CPU", options)
    return [model(image)[0] for image in images]


def _torchscript(file: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    model = torch.jit.load(file)
    with torch.no_grad():
        answers = [model(torch.from_numpy(image)) for image in images]
    return [(answer if isinstance(answer, torch.Tensor) else answer[0]).numpy() for answer in answers]


RUN = {"onnx": _onnx, "openvino": _openvino, "torchscript": _torchscript}


def main() -> None:
    """Measure all, and write the table."""
    rows = []
    for name in NAMES:
        with TemporaryDirectory() as folder:
            errors = [error(name, kind, Path(folder), dynamic) for kind, dynamic in KINDS.values()]
        rows.append([f"`{name}`", *(f"{e:.0e}" for e in errors)])
    table = tabulate(rows, ["Module", *KINDS], "github", disable_numparse=True)
    PAGE.write_text(TABLE.sub(table + "\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
