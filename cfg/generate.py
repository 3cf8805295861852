"""Write the model YAMLs of this folder from the YAMLs of the installed Ultralytics: `python cfg/generate.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yolo_attn
from yolo_attn import document, graph
from yolo_attn.registry import Spec, find
from yolo_attn.rows import wrapped

FOLDER = Path(__file__).parent
BASE = "yolov8.yaml"
Model = dict[str, Any]


def inserted(module: str, at: str = "sppf", mode: str = "residual", base: str = BASE, **args: Any) -> Callable:
    return lambda: yolo_attn.insert(base, module, at, args, mode=mode)


def replaced(module: str, *layers: int) -> Callable[[], Model]:
    """A module that stands for the layers: it takes their arguments."""
    return lambda: yolo_attn.replace(BASE, module, list(layers))


def meeting(module: str) -> Callable[[], Model]:
    """One width for the maps of all levels, as in Deformable DETR; four heads look in the four directions at first."""
    return lambda: yolo_attn.insert(BASE, module, "neck", [256, {"num_heads": 4}])


def fused(module: str) -> Callable[[], Model]:
    """A fusion in the place of each Concat, as wide as the layer that follows."""

    def model() -> Model:
        d: Any = BASE
        for layer, width in ((11, 512), (14, 256), (17, 512), (20, 1024)):
            d = yolo_attn.replace(d, module, layer, [width])
        return d

    return model


def dattn_neck() -> Model:
    """Heads of 32 channels, and fewer keys where the map is larger, as in the stages of DAT."""
    d: Model = yolo_attn.insert(BASE, "DAttention", "neck-p3", {"head_dim": 32, "stride": 4, "kernel_size": 7})
    d = yolo_attn.insert(d, "DAttention", "neck-p4", {"head_dim": 32, "stride": 2, "kernel_size": 5})
    return yolo_attn.insert(d, "DAttention", "neck-p5", {"head_dim": 32})


def dat_backbone() -> Model:
    """A stage of DAT in the place of each C2f of the backbone: windows first, deformable attention from P4 on.

    The windows divide the maps of 640-pixel images. Repeats and hidden widths keep the size near YOLOv8's.
    """
    stages: dict[int, tuple[int, dict[str, Any]]] = {  # layer: repeats, as C2f's scaled by depth, and arguments
        2: (3, {"blocks": "L", "window_size": 8}),
        4: (3, {"blocks": "LS", "window_size": 8}),
        6: (3, {"blocks": "LD", "window_size": 8, "stride": 2, "num_groups": 2, "kernel_size": 5}),
        8: (1, {"blocks": "LD", "window_size": 10, "num_groups": 4}),
    }
    d: Any = BASE
    for layer, (repeats, args) in stages.items():
        d = yolo_attn.replace(d, "DATStage", layer, {**args, "head_dim": 32, "mlp_ratio": 1.5})
        d["backbone"][layer][1] = repeats
    return d


def crossformer() -> Model:
    """Groups of 10 x 10 cut the 20 x 20 positions behind SPPF, at 640 pixels, without padding."""
    args = {"group_size": 10, "mlp_ratio": 2}
    far = {**args, "long_distance": True, "adaptive_interval": True}
    d: Model = yolo_attn.insert(BASE, "CrossFormerBlock", "sppf", far)
    return yolo_attn.insert(d, "CrossFormerBlock", 9, args)  # in front of the other


def cel() -> Model:
    d: Any = BASE
    for layer, width in ((3, 256), (5, 512), (7, 1024)):
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


def depatch() -> Model:
    """As in DPT, where it is the patch embedding between two stages."""
    d: Model = yolo_attn.replace(BASE, "DePatch", 7, [1024, 2])
    return d


SAME = ", starting as yolov8"
MODELS: dict[str, tuple[str, Callable[[], Model]]] = {
    "dattn": ("deformable attention after SPPF" + SAME, inserted("DAttention")),
    "dattn-plain": ("bare deformable attention after SPPF, as in the tutorials", inserted("DAttention", mode="plain")),
    "dattn-neck": ("deformable attention on the maps that feed the head" + SAME, dattn_neck),
    "datblock": ("a whole DAT block after SPPF" + SAME, inserted("DATBlock")),
    "dat-backbone": ("DAT's stages in the place of the backbone's C2f, windows first", dat_backbone),
    "local": ("window attention after SPPF" + SAME, inserted("LocalAttention")),
    "shiftwindow": ("shifted-window attention after SPPF" + SAME, inserted("ShiftWindowAttention")),
    "pyramid": ("spatial-reduction attention after SPPF" + SAME, inserted("PyramidAttention")),
    "crossformer": ("two CrossFormer blocks, short and long distance, after SPPF" + SAME, crossformer),
    "cel": ("cross-scale embeddings in the place of the backbone's strided convolutions from P2 on", cel),
    "crossformer-backbone": ("the backbone of CrossFormer, embeddings and stages, up to SPPF", crossformer_backbone),
    "depatch": ("deformable patches in the place of the backbone's last downsampling", depatch),
    "slpt": ("sparse local patches at the end of the backbone's P4 stage" + SAME, inserted("SparseLocalPatch", "p4")),
    "slpt-pose": (
        "sparse local patches at the end of the backbone's P4 stage, starting as yolov8-pose",
        inserted("SparseLocalPatch", "p4", base="yolov8-pose.yaml"),
    ),
    "sifa": (
        "inter-frame attention after SPPF, which acts on video and is yolov8 on still images",
        inserted("SIFA"),
    ),
    "msda": (
        "multi-scale deformable attention among the maps that feed the head" + SAME,
        meeting("MSDeformAttn"),
    ),
    "msda-encoder": (
        "an encoder layer of Deformable DETR over the maps that feed the head" + SAME,
        meeting("DeformableTransformerEncoderLayer"),
    ),
    "dcn": ("deformable convolutions in the last two stages of the backbone" + SAME, replaced("C2fDCN", 6, 8)),
    "deformconv": ("a deformable convolution into the last stage" + SAME, replaced("DeformConv", 7)),
    "sk": ("selective kernels after SPPF" + SAME, inserted("SK")),
    "se": ("squeeze-and-excitation after SPPF" + SAME, inserted("SE")),
    "cbam": ("convolutional block attention after SPPF" + SAME, inserted("CBAM")),
    "coordatt": ("coordinate attention after SPPF" + SAME, inserted("CoordAtt")),
    "eca": ("efficient channel attention after SPPF" + SAME, inserted("ECA")),
    "simam": ("parameter-free attention after SPPF" + SAME, inserted("SimAM")),
    "triplet": ("triplet attention after SPPF" + SAME, inserted("TripletAttention")),
    "gc": ("global context after SPPF" + SAME, inserted("GlobalContext")),
    "mhsa": ("multi-head self-attention after SPPF" + SAME, inserted("MHSA")),
    "shuffle": ("shuffle attention after SPPF" + SAME, inserted("ShuffleAttention")),
    "gam": ("global attention after SPPF" + SAME, inserted("GAM")),
    "ema": ("efficient multi-scale attention after SPPF" + SAME, inserted("EMA")),
    "gct": ("gated channel transformation after SPPF" + SAME, inserted("GCT")),
    "mscam": ("multi-scale channel attention after SPPF" + SAME, inserted("MS_CAM")),
    "daf": ("a plain sum in the place of every Concat, to compare aff and iaff with", fused("DAF")),
    "aff": ("attentional feature fusion in the place of every Concat", fused("AFF")),
    "iaff": ("iterative attentional feature fusion in the place of every Concat", fused("iAFF")),
    "plainconv": (
        "a plain convolution block after SPPF, the control of a comparison" + SAME,
        inserted("PlainConv"),
    ),
}  # name, which ends in the task where that is not detection: what it is, how it is made


def text(name: str) -> str:
    """The YAML of a name."""
    what, make = MODELS[name]
    model = make()
    base = Path(model["yaml_file"]).name
    return (
        f"# yolo-attn: YOLOv8 with {what}.\n"
        f"# {papers(model)}. From Ultralytics' {base}, AGPL-3.0, by cfg/generate.py.\n"
        f"# The file name chooses the scale: yolov8n-{name}.yaml to yolov8x-{name}.yaml.\n\n{document.dump(model)}"
    )


def papers(model: Model) -> str:
    """The sources of the registered modules among the rows."""
    return ", ".join(dict.fromkeys(spec.paper for spec in specs(model)))


def specs(model: Model) -> list[Spec]:
    """The registered modules among the rows; those inside a Residual in its place."""
    rows = [(spec, row[3]) for row in graph.rows(model) if (spec := find(row[2]))]
    return [wrapped(spec, args) if spec.channels == "wrap" else spec for spec, args in rows]


def table() -> str:
    """The table of docs/models.md."""
    rows = [f"| `yolov8-{name}.yaml` | {what} |" for name, (what, _) in MODELS.items()]
    return "\n".join(["| Model YAML | YOLOv8 with |", "|---|---|", *rows])


if __name__ == "__main__":
    for each in MODELS:
        (FOLDER / f"yolov8-{each}.yaml").write_text(text(each), encoding="utf-8")
