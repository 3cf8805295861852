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


def crossformer() -> Model:
    """Groups of 10 x 10 cut the 20 x 20 positions behind SPPF, at 640 pixels, without padding."""
    args = {"group_size": 10, "mlp_ratio": 2}
    far = {**args, "long_distance": True, "adaptive_interval": True}
    model: Model = yolo_attn.insert(BASE, "CrossFormerBlock", "sppf", far)
    return yolo_attn.insert(model, "CrossFormerBlock", 9, args)  # in front of the other


def cel() -> Model:
    d: Model = yolo_attn.replace(BASE, "CrossScaleEmbed", 3, [256])
    for layer, width in ((5, 512), (7, 1024)):
        d = yolo_attn.replace(d, "CrossScaleEmbed", layer, [width])
    return d


def crossformer_backbone() -> Model:
    """Embeddings in the place of the strided convolutions, the first of stride 4; stages in the place of C2f.

    Six blocks are two at scale n, a pair of short and long distance; the first stage has half of them, as in the
    paper's CrossFormer-T. Groups of 10 x 10 cut all maps of 640 pixels without padding, and those of long distance
    reach over the whole map, as the paper's do. Parameters and FLOPs are within 25 % of yolov8's at every scale.
    """
    d: Model = yolo_attn.remove(BASE, 1)
    d = yolo_attn.replace(d, "CrossScaleEmbed", 0, [128, [4, 8, 16, 32], 4, {"norm": "ln"}])
    for layer, width in ((2, 256), (4, 512), (6, 1024)):
        d = yolo_attn.replace(d, "CrossScaleEmbed", layer, [width, {"norm": "pre_ln"}])
    for layer, repeats in ((1, 3), (3, 6), (5, 6), (7, 6)):
        args = {"group_size": 10, "mlp_ratio": 1, "adaptive_interval": True, "pos_dim": 16}
        d = yolo_attn.replace(d, "CrossFormerStage", layer, args)
        d["backbone"][layer][1] = repeats
    return d


DAT, AFF = "DAT: arXiv:2201.00520", "AFF: arXiv:2009.14082"
CROSSFORMER = "CrossFormer: arXiv:2108.00154"
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
    "crossformer": (
        "two CrossFormer blocks, short and long distance, after SPPF, starting as yolov8",
        CROSSFORMER,
        crossformer,
    ),
    "cel": (
        "cross-scale embeddings in the place of the backbone's strided convolutions from P2 on",
        CROSSFORMER,
        cel,
    ),
    "crossformer-backbone": (
        "the backbone of CrossFormer, embeddings and stages, up to SPPF",
        CROSSFORMER,
        crossformer_backbone,
    ),
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
