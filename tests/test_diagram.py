"""The picture of a model's layers: what it says is what the built model does, and all of it can be read."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import torch
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path as PlotPath
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from torch import Tensor, nn
from ultralytics import YOLO
from yolo_attn.patches import host, rehearsal

from yolo_attn.diagram import draw_graph, layout
from yolo_attn.diagram import picture as diagram
from yolo_attn.diagram.grid import Node
from yolo_attn.diagram.layers import Layer
from yolo_attn.registry import specs

from .models import CANNOT, MODELS, SHIPPED, WEIGHTS, needs_weights

EACH = ["yolov8n-dattn.yaml", "yolov8n-msda.yaml", "yolov8n-slpt-pose.yaml"]
ALL = [*SHIPPED, *(name for name in MODELS if name not in CANNOT)]
NAMES = [*EACH, *(pytest.param(name, marks=pytest.mark.slow) for name in ALL)]
IMGSZ = 128
ROW = [-1, 1, "Conv", [8, 3, 2]]


def pictured(model: object, imgsz: int = IMGSZ) -> Figure:
    with rc_context(diagram.RC):
        return diagram.draw(*diagram.read(model, imgsz))


def said(text: Text) -> str:
    return text.get_text().replace(diagram.TIMES, "x")


def drawn(figure: Figure, kind: str) -> list:
    """The artists whose id begins with a word."""
    return [each for each in figure.axes[0].get_children() if (each.get_gid() or "").startswith(kind)]


def built(name: str) -> nn.Module:
    return host.build(host.scaled(host.load_yaml(name)))


def carried(model: nn.Module, imgsz: int) -> Counter[tuple[str, str]]:
    """Each input of each layer of a model that runs: from which layer to which, and its size."""
    sizes = {-1: f"3 x {imgsz} x {imgsz}"}

    def note(layer: nn.Module, _: object, output: object) -> None:
        several = not isinstance(output, Tensor) and isinstance(output, (list, tuple))
        if several and len(output) == 1:
            output, several = output[0], False
        sizes[layer.i] = f"{len(output)} maps" if several else " x ".join(map(str, output.shape[1:]))

    for layer in model.model[:-1]:
        layer.register_forward_hook(note)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, imgsz, imgsz))
    found: Counter[tuple[str, str]] = Counter()
    for layer in model.model:
        for f in [layer.f] if isinstance(layer.f, int) else layer.f:
            source = f if f >= 0 else layer.i + f
            found[f"{'image' if source < 0 else source}-{layer.i}", sizes[source]] += 1
    return found


@pytest.mark.parametrize("name", NAMES)
def test_arrows_are_what_the_layers_read(name: str) -> None:
    """The picture would show another wiring, or other channels and sizes, than the model that is trained."""
    figure = pictured(name)
    want = carried(built(name), IMGSZ)
    assert Counter((t.get_gid().removeprefix("label-"), said(t)) for t in drawn(figure, "label-")) == want
    arrows = Counter(a.get_gid().removeprefix("arrow-") for a in drawn(figure, "arrow-"))
    assert arrows == Counter(each for each, _ in want.elements())


@pytest.mark.parametrize("name", NAMES)
def test_registered_rows_are_highlighted(name: str) -> None:
    """A reader would take a stock layer for an inserted one, or not find the inserted one."""
    figure = pictured(name)
    classes = {spec.cls for spec in specs()}
    inner = [layer[0] if type(layer) is nn.Sequential else layer for layer in built(name).model]
    ours = {f"row-{i}" for i, layer in enumerate(inner) if type(layer) in classes}
    (legend,) = figure.legends
    colours = dict(zip((t.get_text() for t in legend.get_texts()), legend.get_patches(), strict=True))
    rows = drawn(figure, "row-")
    assert len(rows) == len(inner) and ("registered module" in colours) == bool(ours)
    for row in rows:
        of = [part for part, patch in colours.items() if same_color(patch.get_facecolor(), row.get_facecolor())]
        number = int(row.get_gid().removeprefix("row-"))
        part = "backbone" if number < len(host.load_yaml(name)["backbone"]) else "head"
        assert of == ["registered module" if row.get_gid() in ours else part]


Extents = tuple[float, float, float, float]  # left, lower, right and upper


def overlaps(one: Extents, other: Extents) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def contains(whole: Extents, part: Extents) -> bool:
    return whole[0] <= part[0] and whole[1] <= part[1] and part[2] <= whole[2] and part[3] <= whole[3]


def legible(figure: Figure) -> bool:
    """See that no text of a picture lies on another, on the border of a box or an arrow, or ends outside."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    with rc_context(diagram.RC):
        figure.draw(renderer)
    texts = {t: t.get_window_extent(renderer).extents for t in figure.findobj(Text) if t.get_text()}
    boxes = [each.get_window_extent(renderer).extents for each in [*drawn(figure, "row-"), *drawn(figure, "image")]]
    assert not any(overlaps(*pair) for pair in combinations(boxes, 2))
    assert not any(overlaps(*pair) for pair in combinations(texts.values(), 2))
    assert all(contains(figure.bbox.extents, each) for each in [*texts.values(), *boxes])
    inside = [sum(contains(box, text) for text in texts.values()) for box in boxes]
    assert all(n >= 2 for n in inside[:-1]) and inside[-1] == 1  # number and name; the image has none
    across = [t for t, e in texts.items() if any(overlaps(e, box) and not contains(box, e) for box in boxes)]
    assert not across
    for arrow in figure.findobj(FancyArrowPatch):
        for piece in figure.axes[0].transData.transform_path(arrow.get_path()).to_polygons(closed_only=False):
            line = PlotPath(piece)
            assert not [t for t, e in texts.items() if line.intersects_bbox(Bbox.from_extents(*e), filled=False)]
    return True


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps(name: str) -> None:
    """Texts would lie on one another, on a box or an arrow, or end outside of their box or of the picture."""
    assert legible(pictured(name, 640))  # the longest labels


def drawn_at_random(seed: int) -> Iterator[Node]:
    """A model with any wiring: maps that shrink and grow, layers that read any before them, twice too."""
    draw = random.Random(seed)
    n, level = draw.randrange(1, 60), 640
    head = draw.randrange(n)
    yield Node(-1, 0, level, [], 60, 20, 50)
    for i in range(n):
        level = min(640, max(10, int(level * draw.choice([1, 1, 1, 0.5, 0.5, 2]))))
        more = [draw.randrange(-1, i) for _ in range(draw.choice([0, 0, 0, 1, 1, 2, 5]))]
        sources = more if more and draw.random() < 0.3 else [i - 1, *more]
        width, height, label = draw.uniform(40, 150), draw.uniform(14, 40), draw.uniform(20, 80)
        yield Node(i, int(i >= head), level, sources, width, height, label, i == n - 1)


def rectangles(nodes: Sequence[Node], plan: layout.Plan) -> list[Extents]:
    """Boxes and labels, a little smaller than they are."""
    widths = {node.number: node.label for node in nodes}
    found = [(box.x, box.y, box.width, box.height) for box in plan.boxes.values()]
    for arrow in plan.arrows:
        width, (x, y) = widths[arrow.source], arrow.label
        found.append((x - width * (arrow.align == "right"), y - layout.LABEL / 2, width, layout.LABEL))
    return [(x + 0.01, y + 0.01, x + width - 0.01, y + height - 0.01) for x, y, width, height in found]


def lines(plan: layout.Plan) -> list[tuple[int, Extents]]:
    """The straight pieces of arrows, with the number of the box that they come from."""
    pieces = [(arrow.source, ends) for arrow in plan.arrows for ends in pairwise(arrow.points)]
    return [(n, (min(a, c), min(b, d), max(a, c), max(b, d))) for n, ((a, b), (c, d)) in pieces if (a, b) != (c, d)]


@pytest.mark.parametrize("seed", range(12))
def test_any_wiring(seed: int) -> None:
    """An arrow would run through a box or a label, end elsewhere than at its boxes, or leave the picture."""
    nodes = list(drawn_at_random(seed))
    plan = layout.plan(nodes)
    placed = rectangles(nodes, plan)
    assert sum(len(node.sources) for node in nodes) == len(plan.arrows)
    assert not any(overlaps(*pair) for pair in combinations(placed, 2))
    for arrow in plan.arrows:
        for number, (x, y) in ((arrow.source, arrow.points[0]), (arrow.target, arrow.points[-1])):
            box = plan.boxes[number]
            side = x in (box.x, box.x + box.width) and box.y < y < box.y + box.height
            assert side or (y in (box.y, box.y + box.height) and box.x < x < box.x + box.width)
    for _, line in lines(plan):
        assert line[0] == line[2] or line[1] == line[3]
        assert not any(overlaps(line, each) for each in placed)
    whole = (0, 0, plan.width, plan.height)
    assert all(contains(whole, each) for each in [*placed, *(line for _, line in lines(plan))])


@pytest.mark.parametrize("seed", range(12))
def test_lines_of_two_layers_never_lie_on_one_another(seed: int) -> None:
    """An arrow could not be followed to the box that it comes from."""
    drawn = lines(layout.plan(list(drawn_at_random(seed))))
    for level in (0, 1):  # lines that go down, and lines that go to the right
        these = [(n, (a - 0.4, b - 0.4, c + 0.4, d + 0.4)) for n, (a, b, c, d) in drawn if (b == d) == level]
        assert not [
            pair for pair in combinations(these, 2) if pair[0][0] != pair[1][0] and overlaps(pair[0][1], pair[1][1])
        ]


@pytest.mark.parametrize(
    "ending, start", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_formats(tmp_path: Path, ending: str, start: bytes) -> None:
    """A format that a paper needs would be refused, or the file be of another."""
    path = draw_graph("yolov8n-dattn.yaml", tmp_path / f"my.{ending}", imgsz=64)
    assert path == tmp_path / f"my.{ending}" and path.read_bytes().startswith(start)
    assert [*tmp_path.iterdir()] == [path]
    if ending == "svg":
        assert b'id="row-10"' in path.read_bytes() and b'id="arrow-10-21"' in path.read_bytes()


@pytest.mark.parametrize(
    "out, error, message",
    [
        (
            "graph.pnk",
            ValueError,
            r"out: \S*graph.pnk must end in one of .*png.*\. Did you mean png.* Write out=graph.png",
        ),
        ("graph", ValueError, r"must end in one of"),
        (".", ValueError, r"is a folder\. Write out=\S*graph\.png"),
        ("no/graph.png", FileNotFoundError, r"there is no folder \S*no\. Make it first"),
    ],
)
def test_where_no_picture_can_be_is_said_first(
    tmp_path: Path, monkeypatch, out: str, error: type, message: str
) -> None:
    """A user would wait for a model and get nothing."""
    monkeypatch.setattr(diagram, "read", None)
    with pytest.raises(error, match=message):
        draw_graph("yolov8n-dattn.yaml", tmp_path / out)


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    """A failure while it is written would leave half a picture in the place of the old one."""
    path = tmp_path / "graph.png"
    path.write_bytes(b"old")

    def fail(self: Path, _: bytes) -> None:
        with open(self, "wb") as file:
            file.write(b"half")
        raise OSError("no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(Path, "write_bytes", fail)
        draw_graph("yolov8n-dattn.yaml", path, imgsz=64)
    assert [*tmp_path.iterdir()] == [path] and path.read_bytes() == b"old"
    draw_graph("yolov8n-dattn.yaml", path, imgsz=64)
    assert path.read_bytes().startswith(b"\x89PNG")


def words(figure: Figure) -> list[str]:
    """All text below the title, which names the file."""
    return sorted(map(said, figure.axes[0].texts[1:]))


def test_a_model_in_any_form() -> None:
    """A dictionary, a YOLO or its model would give another picture than the YAML that it is from."""
    d = host.load_yaml("yolov8n-dattn.yaml")
    want = words(pictured("yolov8n-dattn.yaml"))
    yolo = YOLO("yolov8n-dattn.yaml")
    assert words(pictured(d)) == words(pictured(yolo)) == words(pictured(yolo.model)) == want
    assert said(pictured(d).axes[0].texts[0]) == "yolov8n-dattn.yaml, 3 x 128 x 128"
    assert {"Residual[DAttention]", "C2f x6", "None, 2, nearest", "stride 32", "256 x 4 x 4"} <= set(want)


@needs_weights
def test_checkpoint() -> None:
    """The picture of a checkpoint would be refused, or be that of another scale."""
    figure = pictured(WEIGHTS, 640)
    assert words(figure) == words(pictured("yolov8n.yaml", 640))
    assert said(figure.axes[0].texts[0]) == "yolov8n.pt, 3 x 640 x 640"


def test_a_model_stays_as_it_is() -> None:
    """A picture in the middle of a training would put the model into eval mode, or change its statistics."""
    model = built("yolov8n-dattn.yaml").train()
    before = copy.deepcopy(model.state_dict())
    pictured(model)
    assert model.training and all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_scale_and_changes_of_a_model_are_shown() -> None:
    """A pruned model, whose rows are as before, would be shown with channels that it no longer has."""
    model = built("yolov8n-dattn.yaml")
    first, second = model.model[0], model.model[1]
    first.conv, first.bn = nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
    second.conv = nn.Conv2d(12, 32, 3, 2, 1, bias=False)
    assert "12 x 64 x 64" in words(pictured(model))
    assert "80 x 64 x 64" in words(pictured("yolov8x-dattn.yaml"))


def test_modules_that_need_values(monkeypatch) -> None:
    """A module that can't be run with shapes alone would have no picture."""
    want = words(pictured("yolov8n-dattn.yaml"))

    def refuse() -> None:
        raise RuntimeError("no values")

    monkeypatch.setattr(rehearsal, "shapes", refuse)
    assert words(pictured("yolov8n-dattn.yaml")) == want


@pytest.mark.parametrize(
    "row, message",
    [
        ([-1, 1, "Cnov", [64, 3, 2]], r"^row 3 \(Cnov\): .*Cnov"),
        ([7, 1, "Conv", [64, 3, 2]], r"^row 3 \(Conv\): `from` must name earlier layers, got 7\. Layers 0 to 2 come"),
        ([-1, 1, "Conv"], r"^row 3: it is \[-1, 1, 'Conv'\]\. Write \[from, repeats, module, arguments\]\.$"),
        ([-1, 1, "Residual", ["DAtention"]], r"^row 3 \(Residual\[DAtention\]\): .*Did you mean DAttention"),
        ([-1, 1, "Conv", [256, 3, 1]], r"^row 11 \(Concat\): .*Maps of different sizes meet here"),
    ],
)
def test_bad_rows(row: list, message: str) -> None:
    """A user would get a traceback of Ultralytics, and not which row to mend."""
    d = host.load_yaml("yolov8n.yaml")
    d["backbone"][3] = row
    if message.startswith("^row 11"):
        d["head"][1][0] = [-1, 2]
    with pytest.raises(ValueError, match=message) as raised:
        pictured(d)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "model, imgsz, message",
    [
        ("yolov8n-datn.yaml", 640, r"Did you mean yolov8-\S*dat"),
        ("yolov8n-dattn", 640, r"a YAML or a checkpoint"),
        ({"nc": 1, "backbone": [], "head": 3}, 640, r"backbone must be a list of rows \[from, .*\], got \[\]\. Give"),
        ({"nc": 1, "backbone": [ROW], "head": 3}, 640, r"head must be a list of rows \[from, .*\], got 3\. Give"),
        (
            {"nc": 1, "backbone": [ROW], "head": [[-1, 1, "Detct", ["nc"]]]},
            640,
            r"^row 1 \(Detct\): the last row must be a head of Ultralytics\. Write Detect,",
        ),
        ("nowhere.pt", 640, r"there is no checkpoint nowhere.pt"),
        ("yolov8n.yaml", 100, r"imgsz: a multiple of the stride 32 is needed, got 100\. Write imgsz=128\.$"),
        ("yolov8n-p6.yaml", 96, r"the stride 64 is needed, got 96\. Write imgsz=128\.$"),
        ("yolov8n.yaml", 0, r"imgsz: a whole number from 1"),
        (
            nn.Conv2d(3, 3, 1),
            640,
            r"a model of Ultralytics is needed, got Conv2d\. Give a YOLO, a YAML or a checkpoint\.$",
        ),
    ],
)
def test_bad_arguments(model: object, imgsz: int, message: str) -> None:
    """A mistake would end in a traceback."""
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pictured(model, imgsz)


def test_text_of_a_row_is_kept_short() -> None:
    """Long arguments would make boxes as wide as the page, and dollars be read as formulas."""
    long = {"$x_1$": "a" * 300, "b": [1, [2, None]], "c": "1 2" * 99}
    rows = [
        Layer(-1, "image", 1, [], "backbone", [], (3, 64, 64), False),
        Layer(0, "Residual[my.modules.Of" + "Long" * 20 + "]", 9, [long], "backbone", [-1], (8, 32, 32), True),
        Layer(1, "my.modules.Short", 1, [64, long["b"], None], "head", [0], None, False),
    ]
    with rc_context(diagram.RC):
        figure = diagram.draw(r"a $\no$.yaml", rows)
    assert legible(figure)
    (box,) = drawn(figure, "row-0")
    assert box.get_width() < 300 and sum("…" in text for text in words(figure)) == 3
    assert {"my.modules.Short", "64, [1, [2, None]], None"} <= set(words(figure))
