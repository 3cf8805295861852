"""The control of a comparison: of the candidate's size, row by row, from the same start, and free of its attention."""

from __future__ import annotations

import copy
from collections import Counter
from functools import cache

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import Concat
from ultralytics.utils import DEFAULT_CFG
from yolo_attn.patches import host

import yolo_attn
from yolo_attn import document, graph
from yolo_attn.comparison.control import control
from yolo_attn.comparison.fit import TOLERANCE, Block, fit

from .models import REORDERED, SHIPPED, STARTING, TASKS, outputs, same, seeded, transferred

GONE = [  # so small that the baseline is their control
    f"yolov8-{name}.yaml" for name in ("gct", "eca", "ema", "shuffle", "simam", "triplet")
]
BLOCKS = [name for name in SHIPPED if name not in GONE]
FUSED = {"yolov8-aff.yaml", "yolov8-iaff.yaml", "yolov8-daf.yaml"}
MEDIUM = ("dattn-neck", "iaff", "dcn")
BASE = host.load_yaml("yolov8n.yaml")


def load(name: str, scale: str = "n") -> tuple[dict, dict]:
    """The stock model and the candidate."""
    stock = f"yolov8{scale}-{TASKS[name]}.yaml" if name in TASKS else f"yolov8{scale}.yaml"
    return host.load_yaml(stock), host.load_yaml(name.replace("yolov8", f"yolov8{scale}"))


@cache
def made(name: str, scale: str = "n") -> dict:
    return control(*load(name, scale))


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def stock_layers(model: nn.Module) -> Counter:
    """Kinds and sizes of the layers that are no registered modules."""
    ours = host.inserted(model)
    return Counter((type(layer), size(layer)) for i, layer in enumerate(model.model) if i not in ours)


def block(h1: int, h2: int, kernel_size: int = 3, **more: int) -> dict:
    return {"hidden": [h1, h2], "kernel_size": kernel_size, **more}


# ------------------------------------------------------------------------------------------- all shipped models


@pytest.mark.parametrize("name, scale", [(n, "n") for n in BLOCKS] + [(f"yolov8-{n}.yaml", "m") for n in MEDIUM])
def test_size(name: str, scale: str) -> None:
    """A gain over the control could be one of size alone, in one place or in all."""
    stock, candidate = map(host.build, load(name, scale))
    other = host.build(made(name, scale))
    assert {*host.inserted(other).values()} == {"PlainConv"}
    rows, blocks = ([model.model[i] for i in host.inserted(model)] for model in (candidate, other))
    kept = [stock.model[i] for i in host.inserted(candidate)] if name in REORDERED else []
    for i, (row, its) in enumerate(zip(rows, blocks, strict=True)):
        assert size(its) == pytest.approx(size(row) - (size(kept[i]) if kept else 0), rel=TOLERANCE)
    beside = Counter((type(layer), size(layer)) for layer in kept or [Concat()] * (4 if name in FUSED else 0))
    assert stock_layers(other) == stock_layers(candidate) + beside
    assert abs(size(other) - size(candidate)) <= TOLERANCE * abs(size(candidate) - size(stock))
    assert torch.equal(other.stride, candidate.stride)


@pytest.mark.parametrize("name", BLOCKS)
def test_start(name: str) -> None:
    """A control would start from other outputs or with fewer weights than its candidate: a comparison of starts."""
    baseline, candidate = load(name)
    stock = seeded(baseline)
    models = [seeded(d, like=stock) for d in (candidate, made(name))]
    first, second = (transferred(model, stock)[0] for model in models)
    assert first == second
    starts = name in STARTING or name == "yolov8-sifa.yaml" or name in TASKS
    assert same(outputs(models[0]), outputs(stock), name) == starts
    assert same(outputs(models[1]), outputs(stock)) == starts


@pytest.mark.parametrize("name", BLOCKS)
def test_training(name: str) -> None:
    """A block would stay as it is."""
    model = seeded(made(name)).train()
    model.args = DEFAULT_CFG
    batch = {
        "img": torch.rand(2, 3, 64, 64),
        "cls": torch.zeros(2, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.6]] * 2),
        "batch_idx": torch.arange(2.0),
        "keypoints": torch.full((2, 17, 3), 0.5),
    }
    own = {k: p for i in host.inserted(model) for k, p in model.model[i].named_parameters(f"{i}")}
    optimizer = torch.optim.SGD(own.values(), lr=0.1)
    for _ in range(2):  # in the first step gamma opens
        optimizer.zero_grad()
        model(batch)[0].sum().backward()
        optimizer.step()
    assert all(p.isfinite().all() for p in own.values())
    assert {k for k, p in own.items() if not p.grad.any()} == set()


# ------------------------------------------------------------------------------------------------- kinds of rows


@pytest.mark.parametrize("name, rows", [
    ("dattn", {10: [-1, 1, "Residual", ["PlainConv", block(135, 159)]]}),
    ("dattn-plain", {10: [-1, 1, "PlainConv", [block(135, 159)]]}),
    ("sifa", {10: [-1, 1, "Residual", ["PlainConv", block(40, 50)]]}),
    ("msda", {23: [18, 1, "Residual", ["PlainConv", block(58, 66)]]}),
    ("cel", {7: [-1, 1, "PlainConv", [block(169, 172, stride=2, dim_out=256)]]}),
    ("crossformer-backbone", {0: [-1, 1, "PlainConv", [block(28, 24, 5, stride=4, dim_out=32)]],
                              1: [-1, 1, "PlainConv", [block(16, 37)]]}),
    ("deformconv", {7: [-1, 1, "Conv", [1024, 3, 2]], 8: [-1, 1, "Residual", ["PlainConv", block(32, 41)]]}),
    ("iaff", {11: [[-1, 6], 1, "Concat", [1]], 12: [-1, 1, "PlainConv", [block(66, 58, dim_out=128)]],
              19: [[-1, 13], 1, "Concat", [1]], 26: [[17, 21, 25], 1, "Detect", ["nc"]]}),
])  # fmt: skip
def test_rows(name: str, rows: dict) -> None:
    """A row would be exchanged for one of another place, start, stride or width, or a `from` point elsewhere."""
    found = graph.rows(made(f"yolov8-{name}.yaml"))
    assert {i: found[i] for i in rows} == rows


def test_a_small_row_goes() -> None:
    """A gate of a few numbers would be compared with a block many times its size."""
    gct = yolo_attn.insert(BASE, "GCT", "sppf")
    assert [control(BASE, gct), *(control(*load(name)) for name in GONE)] == [None] * (1 + len(GONE))
    both = yolo_attn.insert(gct, "SE", "neck")
    assert control(BASE, both) == control(BASE, yolo_attn.insert(BASE, "SE", "neck"))
    assert control(both, yolo_attn.insert(both, "GCT", "p4")) is None
    wider = copy.deepcopy(gct)
    wider["head"][2][3] = [768]  # another difference, which the baseline lacks
    assert graph.rows(control(BASE, wider))[12][3] == [768]


def test_a_small_row_in_the_place_of_a_layer() -> None:
    """A sum in the place of a Concat, without parameters, would leave the two maps unmet."""
    narrow = {**BASE, "backbone": copy.deepcopy(BASE["backbone"]), "head": copy.deepcopy(BASE["head"])}
    narrow["head"][9][3][0] = 1024  # as wide as the map that it meets in layer 20
    assert control(narrow, yolo_attn.replace(narrow, "DAF", 20, [1024])) is None


def test_repeats() -> None:
    """A row that is stacked would get a control of one of its modules."""
    d = yolo_attn.insert(BASE, "SE", "sppf")
    d["backbone"][10][1] = 9  # three at scale n
    row = graph.rows(control(BASE, d))[10]
    assert row[:3] == [-1, 1, "Residual"]
    assert size(host.build(control(BASE, d)).model[10]) == pytest.approx(3 * (2 * 256 * 16 + 272 + 256), rel=TOLERANCE)


@pytest.mark.parametrize("mode", ["plain", "residual"])
def test_maps_of_several_sizes(mode: str) -> None:
    """Maps of several strides would meet in a Concat, which takes one size only."""
    d = yolo_attn.insert(BASE, "MSDeformAttn", "neck", [256, {"num_heads": 4}], mode=mode)
    other = control(BASE, d)
    assert [row[0] for row in graph.rows(other)[22:25]] == [15, 18, 21]
    plain = graph.rows(other)[23][3][mode == "residual"]
    assert plain.get("dim_out") == (64 if mode == "plain" else None)


def test_against_a_baseline_with_modules() -> None:
    """What both models have would be exchanged too, and the control compare two changes."""
    baseline = yolo_attn.insert(BASE, "DAttention", "sppf")
    found = graph.rows(control(baseline, yolo_attn.insert(baseline, "SE", "p3")))
    assert [row[3][0] for row in found if row[2] == "Residual"] == ["PlainConv", "DAttention"]
    with pytest.raises(ValueError, match="has no inserted or replaced rows"):
        control(baseline, copy.deepcopy(baseline))


# ------------------------------------------------------------------------------------------------- what stays


def test_the_rest_stays() -> None:
    """The control would have other classes or another scale, its arguments be changed, or later draws differ."""
    baseline, candidate = ({**d, "nc": 3} for d in load("yolov8-iaff.yaml", "s"))
    before = copy.deepcopy((baseline, candidate))
    torch.manual_seed(0)
    other = control(baseline, candidate)
    torch.testing.assert_close(torch.rand(3), torch.manual_seed(0) and torch.rand(3))
    assert (baseline, candidate) == before
    assert {k: v for k, v in other.items() if k not in document.PARTS} == {
        k: v for k, v in candidate.items() if k not in document.PARTS
    }
    assert host.build(other).yaml["nc"] == 3


def test_as_a_file(tmp_path) -> None:
    """A control could not be written, or would be another model when it is read."""
    path = tmp_path / "yolov8n-control.yaml"
    path.write_text(document.dump(made("yolov8-cel.yaml")), encoding="utf-8")
    assert graph.rows(host.load_yaml(path)) == graph.rows(made("yolov8-cel.yaml"))


@pytest.fixture
def pick() -> str:
    """A registered module in the place of Convs that has as many parameters as it is told to."""

    class Pick(nn.Module):
        def __init__(self, c1: int, c2: int, stride: int, number: int) -> None:
            super().__init__()
            self.c2, self.stride, self.idle = c2, stride, nn.Parameter(torch.zeros(number))

        def forward(self, x):
            return x[:, :1, :: self.stride, :: self.stride].repeat(1, self.c2, 1, 1)

    yolo_attn.register(channels="out", stands_for="Conv")(Pick)
    return "Pick"


def test_no_block_fits(pick: str) -> None:
    """A control of another size, or, in the place of two layers, of other strides would be run without a word."""
    message = (
        r"control: layer 7 \(Pick\) must have .* from 128 to 256 channels of stride 2, got 600, and .* has 6\d\d\."
    )
    with pytest.raises(ValueError, match=message):
        control(BASE, yolo_attn.replace(BASE, pick, 7, [1024, 2, 600]))
    with pytest.raises(ValueError, match=r"layer 0 \(Pick\) .* of stride 4, got 0, and the nearest has"):
        control(BASE, yolo_attn.replace(yolo_attn.remove(BASE, 1), pick, 0, [128, 4, 0]))
    assert control(BASE, yolo_attn.replace(BASE, pick, 7, [1024, 2, 500])) is None


def other_backbone() -> dict:
    return yolo_attn.insert("yolo11n.yaml", "SE", "sppf")


@pytest.mark.parametrize("candidate, message", [
    (lambda: host.load_yaml("yolov8s.yaml"), "control: yolov8s.yaml has no inserted or replaced rows.* Leave it out"),
    (lambda: BASE, "control: yolov8n.yaml has no inserted"),
    (other_backbone, r"control: yolo11n.yaml must be the baseline with .* from row 2 \(C3k2\) on. Leave it out"),
])  # fmt: skip
def test_no_control(candidate, message: str) -> None:
    """A stock model would be its own control, or a model of another family get one that means nothing."""
    with pytest.raises(ValueError, match=message):
        control(BASE, candidate())


# ------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("dim", [16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 576, 640])
def test_a_block_of_every_size(dim: int) -> None:
    """Some module would have no control, because no block is of its size."""
    least = Block().parameters(dim, dim)
    few = range(least, 14 * dim, max(dim // 8, 1))
    many = {round(14 * dim * (30 * dim / 14) ** (i / 10)) for i in range(11)}
    off = {n: fit(n, dim, dim).parameters(dim, dim) / n - 1 for n in {*few, *many}}
    assert max(map(abs, off.values())) <= TOLERANCE


@pytest.mark.parametrize("dim", [64, 256, 640])
def test_blocks_are_of_usual_shape(dim: int) -> None:
    """A control would be of equal size, and cripple itself by a single channel in its middle."""
    for n in (dim**2, 4 * dim**2, 20 * dim**2):
        found = fit(n, dim, dim)
        assert found.kernel == (3, 3) and 1 / 3 < found.h1 / found.h2 < 3
        assert found.parameters(dim, dim) == pytest.approx(n, rel=0.005)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 64])
def test_a_kernel_covers_its_stride(stride: int) -> None:
    """A block would never look at some pixels."""
    assert min(fit(40_000, 16, 32, stride).kernel) >= stride
