"""Write the model YAMLs of this folder from the YAMLs of the installed Ultralytics: `python cfg/generate.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yolo_attn
from yolo_attn import document

FOLDER = Path(__file__).parent
BASE = "yolov8.yaml"
Model = dict[str, Any]


def after_sppf(module: str, mode: str = "residual") -> Callable[[], Model]:
    return lambda: yolo_attn.insert(BASE, module, "sppf", mode=mode)


def neck() -> Model:
    """Heads of 32 channels, and fewer keys where the map is larger, as in the stages of DAT."""
    model: Model = yolo_attn.insert(BASE, "DAttention", "neck-p3", {"head_dim": 32, "stride": 4, "kernel_size": 7})
    model = yolo_attn.insert(model, "DAttention", "neck-p4", {"head_dim": 32, "stride": 2, "kernel_size": 5})
    return yolo_attn.insert(model, "DAttention", "neck-p5", {"head_dim": 32})


def fused(module: str) -> Callable[[], Model]:
    """A fusion in the place of each Concat, as wide as the layer that follows."""

    def model() -> Model:
        d: Model = yolo_attn.replace(BASE, module, 11, [512])
        for layer, width in ((14, 256), (17, 512), (20, 1024)):
            d = yolo_attn.replace(d, module, layer, [width])
        return d

    return model


DAT, AFF, DCN = "DAT: arXiv:2201.00520", "AFF: arXiv:2009.14082", "DCN: arXiv:1703.06211, arXiv:1811.11168"
MODELS: dict[str, tuple[str, str, Callable[[], Model]]] = {
    "dattn": ("deformable attention after SPPF, starting as yolov8", DAT, after_sppf("DAttention")),
    "dattn-plain": (
        "bare deformable attention after SPPF, as in the tutorials",
        DAT,
        after_sppf("DAttention", "plain"),
    ),
    "dattn-neck": ("deformable attention on the maps that feed the head, starting as yolov8", DAT, neck),
    "datblock": ("a whole DAT block after SPPF, starting as yolov8", DAT, after_sppf("DATBlock")),
    "se": ("squeeze-and-excitation after SPPF, starting as yolov8", "SE: arXiv:1709.01507", after_sppf("SE")),
    "gct": ("gated channel transformation after SPPF, starting as yolov8", "GCT: arXiv:1909.11519", after_sppf("GCT")),
    "mscam": ("multi-scale channel attention after SPPF, starting as yolov8", AFF, after_sppf("MS_CAM")),
    "aff": ("attentional feature fusion in the place of every Concat", AFF, fused("AFF")),
    "iaff": ("iterative attentional feature fusion in the place of every Concat", AFF, fused("iAFF")),
    "dcn": (
        "deformable convolutions in the last two stages of the backbone, starting as yolov8",
        DCN,
        lambda: yolo_attn.replace(BASE, "C2fDCN", [6, 8]),
    ),
    "deformconv": (
        "a deformable convolution into the last stage, starting as yolov8",
        DCN,
        lambda: yolo_attn.replace(BASE, "DeformConv", 7),
    ),
    "sk": ("selective kernels after SPPF, starting as yolov8", "SK: arXiv:1903.06586", after_sppf("SK")),
}  # name: what it is, source, how it is made


def text(name: str) -> str:
    """The YAML of a name."""
    what, source, make = MODELS[name]
    return (
        f"# yolo-attn: YOLOv8 with {what}.\n"
        f"# {source}. From Ultralytics' {BASE}, AGPL-3.0, by cfg/generate.py.\n"
        f"# The file name chooses the scale: yolov8n-{name}.yaml to yolov8x-{name}.yaml.\n\n{document.dump(make())}"
    )


if __name__ == "__main__":
    for each in MODELS:
        (FOLDER / f"yolov8-{each}.yaml").write_text(text(each), encoding="utf-8")
