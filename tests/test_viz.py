"""`viz` as a user calls it: pictures of real models, and where in the image things are drawn."""

from __future__ import annotations

import copy
import shutil
import warnings
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from ultralytics import RTDETR, YOLO
from ultralytics.data.augment import LetterBox
from ultralytics.engine.results import Results
from yolo_attn.patches.predict import predict

import yolo_attn
from yolo_attn.modules import DAttention
from yolo_attn.visualization import draw as drawing
from yolo_attn.visualization import run as viz_run
from yolo_attn.visualization.draw import draw
from yolo_attn.visualization.geometry import Letterbox
from yolo_attn.visualization.looks import Gates, Points, Weights, looks

from .conftest import SHARED
from .host.test_video import film
from .models import WEIGHTS, logged, needs_weights, outputs

PLAIN = np.zeros((2, 32, 64, 3), np.uint8)  # an image, and the same with its detections
SHAPES = [(300, 500), (310, 500), (640, 640), (97, 211), (211, 97), (480, 641), (31, 400), (1080, 1920)]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture of 310 x 500 pixels, which is padded at the top and bottom."""
    path = tmp_path / "image.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (310, 500, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def dattn() -> YOLO:
    torch.manual_seed(0)
    return YOLO("yolov8n-dattn.yaml")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are drawn."""
    drawn, draw = [], viz_run.draw
    monkeypatch.setattr(viz_run, "draw", lambda *args: drawn.append(draw(*args)) or drawn[-1])
    return drawn


def padded(shape: tuple[int, int], target: int) -> tuple[np.ndarray, Letterbox]:
    """A grey image with a white dot in its first third, letterboxed by Ultralytics, and what we make of it."""
    original = np.zeros((*shape, 3), np.uint8)
    y, x = shape[0] // 3, shape[1] // 3
    cv2.circle(original, (x, y), max(min(shape) // 12, 1), (255, 255, 255), -1)
    network = LetterBox((target, target), auto=True, stride=32, padding_value=0)(image=original)
    return network, Letterbox(shape, (target, target), network.shape[:2])


@pytest.mark.parametrize("target", [320, 640])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_places_in_the_image(shape: tuple[int, int], target: int) -> None:
    """What is drawn would lie beside what the network has seen, by half a pixel or more."""
    network, box = padded(shape, target)
    original = np.zeros((*shape, 3), np.uint8)
    cv2.circle(original, (shape[1] // 3, shape[0] // 3), max(min(shape) // 12, 1), (255, 255, 255), -1)
    spots = []
    for each in (network, original):
        mass = each[..., 0].astype(float)
        y, x = (np.arange(n) + 0.5 for n in mass.shape)
        spots.append((float((mass.sum(0) * x).sum() / mass.sum()), float((mass.sum(1) * y).sum() / mass.sum())))
    (nx, ny), there = spots
    relative = torch.tensor([nx / network.shape[1], ny / network.shape[0]], dtype=torch.float64)
    coarse = max(shape[0] / box.scaled[0], shape[1] / box.scaled[1], 1)  # a pixel of the network in those of the image
    assert box.to_image(relative).tolist() == pytest.approx(there, abs=0.5 * coarse)
    row, column = box.to_map(torch.tensor(there), network.shape[:2]).tolist()
    assert abs(row + 0.5 - ny) <= 1 and abs(column + 0.5 - nx) <= 1


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.2), (-0.45, 0.61)], ids=str)
def test_known_offsets(offset: tuple[float, float], dattn: YOLO, image: Path, figures: list, tmp_path: Path) -> None:
    """Points would be drawn half a cell, a letterbox or a transposed axis away from where the module samples."""
    layer = next(m for m in dattn.model.modules() if isinstance(m, DAttention))
    norm, last = layer.conv_offset[1].norm, layer.conv_offset[3]
    with torch.no_grad():  # an offset (y, x) that is the same everywhere, 2 being the whole map
        norm.weight.zero_(), norm.bias.fill_(1)
        last.weight.copy_(
            (torch.tensor(offset) / torch.nn.functional.gelu(torch.ones(())))[:, None, None, None] / last.in_channels
        )
    yolo_attn.viz(dattn, image, query="all", project=tmp_path, imgsz=320)
    (points,) = [
        c
        for ax in figures[0].axes
        for c in ax.collections
        if isinstance(c, PathCollection) and len(c.get_offsets()) > 9
    ]
    drawn = np.sort(np.asarray(points.get_offsets()).view("f8,f8"), axis=0).view("f8").reshape(-1, 2)
    scale, top = 310 / 198, 13  # 500 x 310 becomes 320 x 198, and 224 rows with 13 above and below
    rows, columns = 7, 10  # of 32 pixels
    expected = []
    for i in range(rows):
        for j in range(columns):
            y = min(max((i + 0.5) / (rows - 1) * 2 - 1 + offset[0], -1), 1)  # -1 and 1 are centres of the outer pixels
            x = min(max((j + 0.5) / (columns - 1) * 2 - 1 + offset[1], -1), 1)
            at_y, at_x = (y + 1) / 2 * (rows - 1) * 32 + 16, (x + 1) / 2 * (columns - 1) * 32 + 16
            expected.append((at_x * 500 / 320, (at_y - top) * scale))
    wanted = np.sort(np.asarray(expected).view("f8,f8"), axis=0).view("f8").reshape(-1, 2)
    assert drawn.shape == wanted.shape and np.abs(drawn - wanted).max() < 0.5


def test_the_query_is_the_pixel_that_was_asked_for(dattn: YOLO, image: Path, tmp_path: Path, monkeypatch) -> None:
    """The weights of another pixel would be drawn."""
    asked = []
    monkeypatch.setattr("yolo_attn.visualization.watch.looks", lambda m, x, q: asked.append(q) or looks(m, x, q))
    yolo_attn.viz(dattn, image, query=(499, 309), project=tmp_path, imgsz=320)
    yolo_attn.viz(dattn, image, query=(0, 0), project=tmp_path, imgsz=320)
    yolo_attn.viz(dattn, image, query=(250, 155), project=tmp_path, imgsz=320)
    assert [q.tolist() for q in asked] == [[[6, 9]], [[0, 0]], [[3, 5]]]  # of 7 x 10, with 13 rows of padding of 32


def test_nothing_is_changed(dattn: YOLO, image: Path, tmp_path: Path) -> None:
    """A model that was looked at would be another one, or go on drawing."""
    before, state = outputs(dattn.model), {k: v.clone() for k, v in dattn.model.state_dict().items()}
    (picture,) = yolo_attn.viz(dattn, image, project=tmp_path, name="seen", imgsz=96)
    assert picture.name == "image-10-DAttention.png" and cv2.imread(str(picture)).shape[2] == 3
    assert picture.parent.name == "seen"
    assert dattn.predictor is None and not any(m._forward_hooks for m in dattn.model.modules())
    assert all(torch.equal(v, state[k]) for k, v in dattn.model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(outputs(dattn.model), before, strict=True))
    (other,) = yolo_attn.viz(dattn, image, project=tmp_path, name="seen", imgsz=96)
    assert other.parent != picture.parent  # a run folder of its own
    assert not [*tmp_path.rglob("*.part")]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("yolov8n-se.yaml", ["10-SE"]),
        ("yolov8n-cbam.yaml", ["10-CBAM"]),
        ("yolov8n-iaff.yaml", ["12-iAFF", "16-iAFF"]),
        ("yolov8n-msda.yaml", None),
        ("yolov8n-depatch.yaml", None),
        ("yolov8n-deformconv.yaml", None),
        ("yolov8n-slpt.yaml", None),
        ("yolov8n-crossformer.yaml", None),
        ("yolov8n-mhsa.yaml", ["10-MHSA"]),
        ("yolov8n-gc.yaml", None),
        ("yolov8n-obb.yaml", ["10-DAttention"]),
    ],
)
def test_models(model: str, names: list[str] | None, image: Path, tmp_path: Path) -> None:
    """A mechanism would have no picture, or a picture under another layer's name."""
    torch.manual_seed(0)
    if "obb" in model:
        yolo_attn.insert(model, "DAttention", at="sppf", out=tmp_path / model)
        model = str(tmp_path / model)
    yolo = YOLO(model)
    pictures = yolo_attn.viz(yolo, image, query=(20, 20), project=tmp_path, imgsz=64)
    assert pictures and all(cv2.imread(str(p)).size for p in pictures)
    for path in pictures:
        number, *inside = path.stem.removeprefix("image-").split("-")
        module = getattr(yolo.model.model[int(number)], "fn", yolo.model.model[int(number)])
        for part in inside[0].split(".") if len(inside) > 1 else []:
            module = module[int(part)] if part.isdigit() else getattr(module, part)
        assert type(module).__name__ == inside[-1]


def test_a_folder(dattn: YOLO, tmp_path: Path) -> None:
    """Pictures of images with one stem would overwrite each other, or other files would stop the run."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.jpg", "a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), np.zeros((40, 60, 3), np.uint8))
    (folder / "notes.txt").write_text("no image")
    found = yolo_attn.viz(dattn, folder, project=tmp_path, imgsz=64)
    assert len({p.name for p in found}) == 3 and all(p.exists() for p in found)
    for inner in "pq":
        shutil.copytree(folder, tmp_path / "more" / inner)
    found = yolo_attn.viz(dattn, tmp_path / "more" / "*" / "[ab].*", project=tmp_path, imgsz=64)
    assert len({*found}) == 6 and all(p.exists() for p in found)


def test_a_run_folder_again(dattn: YOLO, image: Path, tmp_path: Path) -> None:
    """exist_ok would be taken and ignored."""
    first, second = (
        yolo_attn.viz(dattn, image, project=tmp_path, name="seen", exist_ok=True, imgsz=64) for _ in range(2)
    )
    assert first == second


def test_how_detections_are_drawn(dattn: YOLO, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """show_labels=False and the like would be taken and ignored."""
    asked = []
    plot = Results.plot
    monkeypatch.setattr(Results, "plot", lambda self, **style: asked.append(style) or plot(self, **style))
    yolo_attn.viz(dattn, image, project=tmp_path, imgsz=64, show_labels=False, line_width=1)
    style = {"conf": True, "labels": False, "line_width": 1}
    assert asked == [{"boxes": False, **style}, {"boxes": True, **style}]  # what the map lies on, and what lies on it


def test_a_file_name_of_any_kind(dattn: YOLO, image: Path, tmp_path: Path) -> None:
    """A name would be read as a formula, which fails, or as letters that the font doesn't have, which warns."""
    other = image.rename(tmp_path / "a$_$b \u56fe.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (picture,) = yolo_attn.viz(dattn, other, project=tmp_path, imgsz=64)
    assert picture.name.startswith("a$_$b \u56fe-10")


def test_a_model_in_use(image: Path, tmp_path: Path) -> None:
    """A YOLO that predicts already would lose its predictor, or keep our hooks and callbacks."""
    yolo = YOLO("yolov8n-dattn.yaml")
    yolo.predict(image, imgsz=64, verbose=False, save=False)
    predictor, running = yolo.predictor, yolo.predictor.model
    callbacks = {event: list(each) for event, each in yolo.callbacks.items()}
    yolo_attn.viz(yolo, image, project=tmp_path, imgsz=64)
    assert yolo.predictor is predictor and predictor.model is running and yolo.callbacks == callbacks
    for module in (*yolo.model.modules(), *running.modules()):
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("imgsz", [96, [64, 160]], ids=str)
@pytest.mark.parametrize("batch", [1, 4])
def test_places_in_batches(batch: int, imgsz: int | list[int], dattn: YOLO, tmp_path: Path) -> None:
    """In a batch of different shapes, or a network's input that is no square, what is drawn would lie elsewhere."""
    for i, (h, w) in enumerate([(60, 200), (200, 60), (120, 120), (90, 31)]):
        image = np.zeros((h, w, 3), np.uint8)
        image[h // 3 :, w // 4 :] = 255
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    seen: list[torch.Tensor] = []

    def begin(network: torch.nn.Module) -> None:
        network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    for each in predict(copy.deepcopy(dattn), tmp_path, begin, imgsz=imgsz, batch=batch):
        box = Letterbox(each.result.orig_shape, each.target, each.padded)
        white = (seen[-1][each.number].float().mean(0) > 0.7).nonzero().double()
        corner = torch.tensor([[white[:, 1].min() / box.padded[1], white[:, 0].min() / box.padded[0]]])
        h, w = box.image
        target = imgsz if isinstance(imgsz, list) else [imgsz, imgsz]
        coarse = max(h / target[0], w / target[1], 1)  # a pixel of the network in those of the image
        assert box.to_image(corner)[0].tolist() == pytest.approx([w // 4, h // 3], abs=coarse)


def test_a_video(tmp_path: Path) -> None:
    """Frames would overwrite each other, or SIFA's view of the next frame would never be drawn."""
    torch.manual_seed(0)
    yolo = YOLO("yolov8n-sifa.yaml")
    with logged() as lines:
        found = yolo_attn.viz(yolo, film(tmp_path / "clip.avi", 5), query=(30, 30), project=tmp_path, imgsz=64)
    frames = sorted({p.stem.split("-")[1] for p in found})
    assert frames == [f"{i:06d}" for i in range(1, 5)]  # the last one has no next
    assert [line for line in lines if "which 1 of 5 don't have in their batch" in line]
    cv2.imwrite(str(tmp_path / "still.jpg"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="looks at the next frame"):
        yolo_attn.viz(yolo, tmp_path / "still.jpg", project=tmp_path, name="empty", imgsz=64)
    cv2.imwrite(str(tmp_path / "still2.jpg"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="looks at the next frame"):  # two images are no film
        yolo_attn.viz(yolo, tmp_path / "still*.jpg", project=tmp_path, name="empty", imgsz=64)
    assert not (tmp_path / "empty").exists()


def test_frames_that_are_left_out(dattn: YOLO, tmp_path: Path) -> None:
    """A picture would bear the number of another frame."""
    found = yolo_attn.viz(dattn, film(tmp_path / "clip.avi", 5), project=tmp_path, imgsz=64, vid_stride=2)
    assert [path.stem.split("-")[1] for path in found] == ["000002", "000004"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"layer": 9}, r"layer: 9 has nothing to show. Choose of 10 \(DAttention\)"),
        ({"layer": []}, r"layer: \[\] has nothing to show"),
        ({"layer": "10"}, "layer: '10' has nothing to show"),
        ({"layer": 1.5}, "layer: 1.5 has nothing to show"),
        ({"query": 1.5}, "x,y in pixels of the image"),
        ({"query": None}, "x,y in pixels of the image"),
        ({"query": "boxs"}, "Did you mean boxes"),
        ({"query": (1, 2, 3)}, "x,y in pixels of the image"),
        ({"query": (500, 0)}, "x must be from 0 to 499 and y from 0 to 309, got 500.0,0.0"),
        ({"query": 3}, "there are 0 detections, got 3"),
        ({"save": True}, "save is not yours to set here"),
        ({"save_txt": True}, "save_txt is not yours to set here"),
        ({"augment": True}, "augment is not yours to set here"),
        ({"source": "imag.jpg"}, "there is no image, folder or video .*imag.jpg. Did you mean image.jpg"),
        ({"source": ""}, "there is no image, folder or video"),
        ({"source": "broken.jpg"}, "no image of .*broken.jpg can be read"),
        ({"model": "yolov8n-dattn.yaml"}, r"a checkpoint \(.pt\) or a YOLO is needed"),
        ({"model": torch.nn.ReLU()}, "or a YOLO is needed, got ReLU. "),
        ({"model": "non.pt"}, "there is no checkpoint"),
        ({"model": "stock"}, "no layer of it is one that viz has a picture of"),
        ({"model": "cls"}, "one for detect, obb, pose, segment is needed, got one for classify"),
    ],
    ids=str,
)
def test_mistakes(change: dict, error: str, dattn: YOLO, image: Path, tmp_path: Path) -> None:
    """A mistake would be told late, by a traceback, or not at all; or leave an empty folder."""
    given = {"model": dattn, "source": image, "project": tmp_path / "runs", "imgsz": 64, **change}
    given["model"] = {"stock": lambda: YOLO("yolov8n.yaml"), "cls": lambda: YOLO("yolov8n-cls.yaml")}.get(
        str(given["model"]), lambda: given["model"]
    )()
    (tmp_path / "broken.jpg").write_text("no image")
    if isinstance(given["source"], str) and given["source"]:
        given["source"] = tmp_path / given["source"]
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        yolo_attn.viz(**given)
    assert not (tmp_path / "runs").exists()


def test_points_of_several_maps() -> None:
    """The same colour would mean different weights in two panels, or points that can't be seen would go unsaid."""
    box = Letterbox((32, 64), (64, 64), (64, 64))  # 16 rows of padding above and below
    xy = torch.tensor([[0.5, 0.5], [0.5, 0.1], [1.5, 0.5], [0.2, 0.6]])
    found = [("", Points(xy, torch.tensor([0.1, 0.2, 0.3, 0.1]))), ("", Points(xy[:1], torch.tensor([0.3])))]
    axes = draw(found, *PLAIN, box, None, "").axes
    panels = [ax for ax in axes if ax.collections and isinstance(ax.collections[0], PathCollection)]
    assert [ax.collections[0].get_clim() for ax in panels] == [pytest.approx((0.1, 0.3))] * 2
    assert [ax.get_xlabel() for ax in panels] == ["2 of 4 points with 71% of the weight lie beside the image", ""]
    assert sum("0.2 if all were alike" in ax.get_ylabel() for ax in axes) == 2


def test_heavy_points_are_on_top() -> None:
    """A light point would hide a heavy one, or be larger."""
    weight = torch.tensor([0.2, 0.7, 0.1])
    box = Letterbox((32, 64), (64, 64), (64, 64))
    figure = draw([("", Points(torch.rand(3, 2), weight))], *PLAIN, box, None, "")
    (points,) = figure.axes[0].collections
    assert points.get_array().tolist() == sorted(weight.tolist()) and (np.diff(points.get_sizes()) > 0).all()


def test_a_map_lies_over_image_and_padding() -> None:
    """A map would be stretched over the image without its padding, and each pixel be drawn beside what it holds."""
    box = Letterbox((32, 64), (64, 64), (64, 64))  # 16 rows of padding above and below
    figure = draw([("", Weights(torch.rand(4, 4)))], *PLAIN, box, None, "")
    image, drawn, _ = figure.axes[0].images
    assert image.get_extent() == [0, 64, 32, 0] and drawn.get_extent() == [0, 64, 48, -16]
    assert drawn.get_interpolation() == "nearest" and figure.axes[0].get_ylim() == (32, 0)


def test_detections_are_above() -> None:
    """A map or a point would hide whose label it is, or the plain pixels of the image hide the map."""
    box, detections = Letterbox((32, 64), (64, 64), (64, 64)), PLAIN[0].copy()
    detections[5, 7] = 200
    figure = draw([("", Weights(torch.rand(4, 4)))], PLAIN[0], detections, box, None, "")
    *_, drawn, above = sorted(figure.axes[0].images, key=lambda image: image.get_zorder())
    assert above.get_zorder() > drawn.get_zorder() and above.get_extent() == [0, 64, 32, 0]
    assert above.get_array()[5, 7].tolist() == [200, 200, 200, 255]
    assert np.count_nonzero(above.get_array()[..., 3]) == 1


def test_whose_view_it_is() -> None:
    """Without a detection the view of all pixels would pass for that of some."""
    box = Letterbox((32, 64), (64, 64), (64, 64))
    weights, gates = Weights(torch.full((4, 4), 1 / 16)), Gates(torch.rand(4))
    for look, queries, end in [
        (weights, None, ", mean over all pixels"),
        (weights, torch.zeros(1, 2), ""),
        (gates, None, ""),
    ]:
        figure = draw([("", look)], *PLAIN, box, queries, "a title")
        assert f"a title{end}" in (figure.axes[0].get_title(), figure.get_suptitle())
    (bar,) = draw([("", weights)], *PLAIN, box, None, "").axes[1:]
    assert bar.get_ylabel() == "weight of a pixel (0.0625 if all were alike)"


@pytest.mark.parametrize("size", [(80, 80), (80, 64), (56, 104), (300, 200)], ids=str)
def test_many_points_without_stripes(size: tuple[int, int]) -> None:
    """Points that lie as far from each other everywhere would be drawn in stripes, which look like attention."""
    y, x = (torch.linspace(0.5 / n, 1 - 0.5 / n, n) for n in size)
    xy = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    beyond = torch.tensor([[1.2, 0.5], [0.5, -0.1]])
    counts = drawing._density(Points(torch.cat([xy, beyond]), torch.ones(len(xy) + 2)))
    assert counts.sum().item() == pytest.approx(len(xy))
    assert ((counts / counts.mean() - 1).abs() < 0.02).all()


def test_a_model_that_stretches(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RT-DETR fits an image in by stretching it: drawn as if it were padded, everything would lie elsewhere."""
    boxes: list[Letterbox] = []
    monkeypatch.setattr(viz_run, "Letterbox", lambda *args: boxes.append(Letterbox(*args)) or boxes[-1])
    yolo_attn.insert("rtdetr-l.yaml", "SE", "p5", out=tmp_path / "my-rtdetr.yaml")
    yolo_attn.viz(RTDETR(tmp_path / "my-rtdetr.yaml"), image, project=tmp_path, imgsz=64)
    assert [box.frame for box in boxes] == [(0, 500, 310, 0)]
    assert boxes[0].to_map(torch.tensor([[499.0, 309.0]]), (2, 2)).tolist() == [[1, 1]]


@needs_weights
def test_real_detections(tmp_path: Path, figures: list) -> None:
    """The pixels in the middle of the detections would not be the ones that look."""
    model = tmp_path / "my.pt"
    yolo_attn.insert("yolov8n.yaml", "DAttention", at="sppf", weights=str(WEIGHTS), out=str(model))
    source = next((SHARED / "data" / "coco8").rglob("images/train/*.jpg"))
    (picture,) = yolo_attn.viz(model, source, project=tmp_path)
    boxes = YOLO(str(WEIGHTS))(source, verbose=False)[0].boxes.xywh[:, :2].numpy()
    marks = figures[0].axes[0].lines[-1].get_xydata()
    assert len(boxes) and np.abs(np.sort(marks, 0) - np.sort(boxes, 0)).max() < 0.5
    assert cv2.imread(str(picture)).shape[0] > 300
    assert "(adds nothing yet)" in figures[0].axes[0].get_title()
    yolo_attn.viz(model, source, query=0, project=tmp_path)
    assert figures[1].axes[0].lines[-1].get_xydata() == pytest.approx(boxes[:1], abs=0.5)  # Ultralytics sorts by score
