"""Every shipped model YAML: built at every scale, trained, loaded elsewhere, and with the heads of other tasks."""

from __future__ import annotations

import json
import runpy
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from ultralytics import YOLO
from ultralytics.data.utils import check_det_dataset
from yolo_attn.patches import host, rehearsal

from yolo_attn import graph, measure
from yolo_attn.registry import find

from .conftest import ROOT
from .tiny import SILENT

NAMES = list(runpy.run_path(str(ROOT / "cfg" / "generate.py"))["MODELS"])
STILL = {"SIFA": "compares the frames of a clip, and passes a single image on as it is"}
TASKS = {"segment": "yolov8-seg.yaml", "pose": "yolov8-pose.yaml", "obb": "yolov8-obb.yaml"}
SETTINGS = {"imgsz": 128, "batch": 8, "workers": 0, "plots": False, "verbose": False}


def load(name: str, scale: str) -> dict:
    return {**host.load_yaml(f"yolov8-{name}.yaml" if name else "yolov8.yaml"), "scale": scale}


# ------------------------------------------------------------------------------------------------- every scale


class NoNorm(TorchFunctionMode):
    """BatchNorm passes its input on: it would take half of the time."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func is F.batch_norm else func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NAMES)
def test_every_scale(name: str) -> None:
    """A YAML would not suit the widths of one of the scales, or feed the head maps of other strides."""
    for scale in "nsmlx":
        with rehearsal.shapes(), NoNorm():
            assert host.build(load(name, scale)).stride.tolist() == [8, 16, 32], scale


@cache
def size(name: str, scale: str) -> tuple[int, float]:
    """Parameters, and GFLOPs on an image of 640 pixels; name "" is the stock model."""
    with rehearsal.shapes(), NoNorm():
        model = host.build(load(name, scale))
        return measure.parameters(model), measure.flops(model, 640)


@pytest.mark.parametrize("scale", "nsmlx")
@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("-backbone")])
def test_a_backbone_is_as_large_as_the_stock_one(name: str, scale: str) -> None:
    """A comparison with yolov8 of the same letter would be one of sizes."""
    (ours, our_flops), (stock, stock_flops) = size(name, scale), size("", scale)
    assert 0.75 < ours / stock < 1.25 and 0.75 < our_flops / stock_flops < 1.25


# ---------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    """A small part of the generated data by task; for poses the corners of a box are its keypoints."""
    folder, shapes = tmp_path_factory.mktemp("data"), check_det_dataset("shapes.yaml")
    names = "".join(f"  {i}: {name}\n" for i, name in shapes["names"].items())
    found = {}
    for task, more in (("detect", ""), ("pose", "kpt_shape: [4, 2]\n")):
        for part, number in (("train", 16), ("val", 8)):
            images = sorted(Path(shapes[part]).glob("*.jpg"))[:number]
            assert len(images) == number
            for kind in ("images", "labels"):
                (folder / task / kind / part).mkdir(parents=True)
            for image in images:
                shutil.copy(image, folder / task / "images" / part)
                label = Path(str(image.with_suffix(".txt")).replace("images", "labels")).read_text()
                label = "\n".join(map(with_corners, label.splitlines())) if task == "pose" else label
                (folder / task / "labels" / part / f"{image.stem}.txt").write_text(label)
        found[task] = folder / f"{task}.yaml"
        found[task].write_text(f"path: {folder / task}\ntrain: images/train\nval: images/val\n{more}names:\n{names}")
    return found


def with_corners(line: str) -> str:
    """A label with the corners of its box, in the units of the image."""
    _, x, y, w, h = map(float, line.split())
    corners = [(x + a * w / 2, y + b * h / 2) for a in (-1, 1) for b in (-1, 1)]
    return " ".join([line, *(str(min(max(value, 0), 1)) for corner in corners for value in corner)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """Train a YAML of a name, once: (checkpoint, modules before, modules after)."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def train(name: str) -> tuple[Path, dict[str, Tensor], dict[str, Tensor]]:
        model, before, after = YOLO(f"yolov8n-{name}.yaml"), {}, {}
        model.add_callback("on_train_start", lambda trainer: before.update(own_parameters(trainer.model)))
        model.add_callback("on_train_end", lambda trainer: after.update(own_parameters(trainer.model)))
        options = {"nbs": 8, "optimizer": "AdamW", "lr0": 0.005, "warmup_epochs": 0, "weight_decay": 0}
        model.train(data=str(data[model.task]), epochs=2, project=str(folder), name=name, **options, **SETTINGS)
        return folder / name / "weights" / "last.pt", before, after

    return train


def own_layers(model: nn.Module) -> dict[int, nn.Module]:
    """The registered modules of a model by layer."""
    return {i: model.model[i] for i in host.inserted(model)}


def own_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the registered modules' trainable parameters; the name begins with layer and class."""
    return {
        f"{i}.{host.inserted(model)[i]}.{k}": p.detach().clone()
        for i, layer in own_layers(model).items()
        for k, p in layer.named_parameters()
        if p.requires_grad
    }


def silent(key: str) -> bool:
    """Whether a parameter is declared to learn nothing, here from still images."""
    _, name, path = key.split(".", 2)
    return name in STILL or any(part in SILENT.get(name, ()) for part in path.split("."))


def bypass(module: nn.Module, inputs: tuple, output):
    """In the place of a module's output its input, or nothing where that has another shape."""
    x = inputs[0] if isinstance(inputs[0], Tensor) else inputs[0][0]
    return x if isinstance(output, Tensor) and x.shape == output.shape else tree_map(torch.zeros_like, output)


@pytest.mark.parametrize("name", NAMES)
def test_training(name: str, trained) -> None:
    """Training would leave a module as it was, or a model would not depend on what its module computes."""
    last, before, after = trained(name)
    assert before and before.keys() == after.keys()
    assert all(p.isfinite().all() for p in after.values())
    same = {k for k in before if torch.equal(before[k], after[k])}
    assert {k for k in same if not silent(k)} == set() and all(k in same for k in before if silent(k))
    model = YOLO(str(last)).model.float().train()  # after so few steps the running statistics would drown everything
    for i, layer in own_layers(model).items():
        want = raw(model)
        handle = layer.register_forward_hook(bypass)
        change = (raw(model) - want).abs().max()
        handle.remove()
        assert (change > 1e-3) != (host.inserted(model)[i] in STILL), (i, change)


def raw(model: nn.Module) -> Tensor:
    """All numbers that the head gives for a batch."""
    x = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.cat([t.flatten() for t in tree_leaves(model(x)) if isinstance(t, Tensor)])


ELSEWHERE = """
import json, sys, torch
from ultralytics import YOLO
data, image, settings, *checkpoints = json.loads(sys.argv[1])
for path in checkpoints:
    yolo = YOLO(path)
    with torch.no_grad():
        output = yolo.model.float().eval()(torch.full((1, 3, 64, 64), 0.5))[0]
    assert yolo.val(data=data[yolo.task], **settings).box.map >= 0
    (result,) = yolo.predict(image, imgsz=64, conf=1e-6, verbose=False)
    print(json.dumps(["loaded", path, output.double().sum().item(), len(result.boxes)]))
"""


def test_val_and_predict_in_a_fresh_process(trained, data, run) -> None:
    """A checkpoint would need the process that it was trained with, or be refused by restricted loading."""
    paths = [str(trained(name)[0]) for name in NAMES]
    image = next(data["detect"].parent.glob("detect/images/val/*.jpg"))
    given = json.dumps([{task: str(path) for task, path in data.items()}, str(image), SETTINGS, *paths])
    done = run("python", "-c", ELSEWHERE, given, ULTRALYTICS_SAFE_LOAD="1")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["loaded"')]
    assert [path for _, path, _, _ in lines] == paths and all(boxes for *_, boxes in lines)
    for _, path, total, _ in lines:
        with torch.no_grad():
            output = YOLO(path).model.float().eval()(torch.full((1, 3, 64, 64), 0.5))[0]
        assert total == pytest.approx(output.double().sum().item(), rel=1e-5), path


# ------------------------------------------------------------------------------------------------- other tasks


def after_sppf() -> list[str]:
    """The YAMLs that differ from the stock one by a single row after SPPF."""
    stock = host.load_yaml("yolov8.yaml")
    found = []
    for name in NAMES:
        d = load(name, "n")
        *backbone, row = d["backbone"]
        if backbone == stock["backbone"] and find(row[2]):
            graph.remove(d, len(backbone))
            found += [name] if d["head"] == stock["head"] else []
    return found


@pytest.mark.parametrize("task", [*TASKS, "classify"])
@pytest.mark.parametrize("name", after_sppf())
def test_heads_of_other_tasks(name: str, task: str) -> None:
    """A row after SPPF would not do in a model of another task."""
    d = load(name, "n")
    if task == "classify":  # has no SPPF
        stock = {**host.load_yaml("yolov8-cls.yaml"), "scale": "n"}
        graph.insert(stock, len(stock["backbone"]) - 1, d["backbone"][-1])
        d = stock
    else:
        stock = host.load_yaml(TASKS[task])
        d["head"][-1] = [d["head"][-1][0], *stock["head"][-1][1:]]
        d |= {k: v for k, v in stock.items() if k not in ("backbone", "head", "scale", "scales", "yaml_file")}
    model = host.build(d)
    assert len(own_layers(model)) == 1 and type(model.model[-1]).__name__ == stock["head"][-1][2]
    for training in (True, False):
        outputs = [t for t in tree_leaves(model.train(training)(torch.rand(2, 3, 64, 64))) if isinstance(t, Tensor)]
        assert outputs and all(t.isfinite().all() for t in outputs)
