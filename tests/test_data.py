"""The generated `shapes` set: what is in it, and that it appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from yolo_attn import data
from yolo_attn.data import CLASSES, draw_shapes

REPO = Path(__file__).parents[1]


def contents(root: Path) -> dict[str, bytes]:
    """All files below `root`, by relative path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def labels(root: Path, split: str) -> list[np.ndarray]:
    """One array (n, 5) per label file of a split."""
    files = sorted((root / "labels" / split).glob("*.txt"))
    return [np.array(file.read_text().split(), float).reshape(-1, 5) for file in files]


def start(root: Path, train: int) -> subprocess.Popen[str]:
    """A process that has imported the package and draws into `root` once it is sent a line."""
    code = f"from yolo_attn.data import draw_shapes; print(); input(); draw_shapes({str(root)!r}, {train}, 2)"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-uc", code], cwd=REPO, env=environment, **pipes)


def release(*processes: subprocess.Popen[str]) -> None:
    """Wait until all have imported the package, then let all draw at once."""
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set large enough for statistics."""
    return draw_shapes(tmp_path_factory.mktemp("datasets") / "shapes", train=120, val=20)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of a test, ended with it, however it ends."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_two_draws_give_the_same_bytes(tmp_path: Path) -> None:
    """Results of two runs could not be compared if the set depended on the time or on the process."""
    first, second = (contents(draw_shapes(tmp_path / name, 6, 3)) for name in ("a", "b"))
    assert len(first) == 2 * (6 + 3) + 1
    assert first == second


def test_seed_and_split_change_every_image(tmp_path: Path) -> None:
    """Validation would measure memory if the splits shared images."""
    one, two = (contents(draw_shapes(tmp_path / str(seed), 5, 5, seed)) for seed in (0, 1))
    images = [content for files in (one, two) for name, content in files.items() if name.endswith(".jpg")]
    assert len(set(images)) == 20


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    """An image depends on its own number, not on how many are drawn."""
    small, large = contents(draw_shapes(tmp_path / "small", 2, 1)), contents(draw_shapes(tmp_path / "large", 4, 2))
    assert all(large[name] == content for name, content in small.items() if name != data.MARKER)


def test_labels_fit_their_images(shapes: Path) -> None:
    """Ultralytics drops an image whose labels leave [0, 1] or name an unknown class."""
    for split, count in (("train", 120), ("val", 20)):
        rows = np.concatenate(labels(shapes, split))
        centre, extent = rows[:, 1:3], rows[:, 3:]
        assert len(labels(shapes, split)) == len(list((shapes / "images" / split).glob("*.jpg"))) == count
        assert set(rows[:, 0]) <= set(range(len(CLASSES)))
        assert (extent > 0).all()
        assert (centre - extent / 2 >= -1e-6).all()
        assert (centre + extent / 2 <= 1 + 1e-6).all()


def test_images_are_readable_and_varied(shapes: Path) -> None:
    """A blank or broken image would teach nothing and warn on every run."""
    for file in (shapes / "images" / "val").glob("*.jpg"):
        image = cv2.imread(str(file))
        assert all(256 <= side <= 320 for side in image.shape[:2])
        assert image.std() > 3


def test_every_class_and_scale_occurs(shapes: Path) -> None:
    """A class or a scale that is missing could not be learnt."""
    rows = np.concatenate(labels(shapes, "train"))
    sides = rows[:, 3:].max(1) * 288  # px, to a tenth
    assert (np.bincount(rows[:, 0].astype(int), minlength=len(CLASSES)) > 30).all()
    assert all(((sides >= low) & (sides < high)).sum() > 30 for low, high in ((8, 20), (20, 40), (40, 80), (80, 150)))


def test_shapes_hide_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Occlusion is what the set has over shapes on an empty ground: in half of the images, not by rare chance."""
    drawn: list[tuple[np.ndarray, list[data.Item]]] = []
    monkeypatch.setattr(data, "_labels", lambda owner, items: drawn.append((owner, items)))
    occluded = 0
    for index in range(60):
        data.draw_image(np.random.default_rng(index))
        owner, items = drawn.pop()
        h, w = owner.shape
        occluded += any(
            c >= 0 and x0 > 0 and y0 > 0 and x1 < w and y1 < h and 0.3 < (owner == number).sum() / area < 0.95
            for number, (c, area, (x0, y0, x1, y1)) in enumerate(items)
        )
    assert 0.4 * 60 < occluded < 0.9 * 60


@pytest.mark.parametrize(("hidden", "labelled"), [(60, True), (80, False)])
def test_a_mostly_hidden_shape_has_no_label(hidden: int, labelled: bool) -> None:
    """A box around what cannot be seen would punish a correct detector; distractors never have one."""
    owner = np.full((200, 400), -1)
    owner[50:150, 100:200] = 0  # a shape of 100 x 100 px
    owner[50:150, 100 : 100 + hidden] = 1  # and what lies on it
    items = [(3, 100 * 100, (100, 50, 200, 150)), (-1, 100 * hidden, (100, 50, 100 + hidden, 150))]
    assert data._labels(owner, items).tolist() == ([[3, 0.375, 0.5, 0.25, 0.5]] if labelled else [])


def test_boxes_hold_exactly_the_pixels_of_a_shape() -> None:
    """A box that is off by a stroke or by half a patch would spoil every metric."""
    rng = np.random.default_rng(0)
    for number in range(200):
        image, owner = np.zeros((256, 320, 3), np.float32), np.full((256, 320), -1)
        kind, centre, size = CLASSES[number % len(CLASSES)], rng.uniform((0, 0), (320, 256)), rng.uniform(10, 120)
        area, (x0, y0, x1, y1) = data._paste(rng, image, owner, 0, kind, size, centre)
        ys, xs = np.nonzero(owner == 0)
        assert len(xs) <= area
        if len(xs) == area:  # nothing cut off
            assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert size - 2 <= max(x1 - x0, y1 - y0) <= size * 1.2 + 4
        else:
            assert 0 <= x0 < x1 <= 320
            assert 0 <= y0 < y1 <= 256


def test_no_stroke_is_cut_by_its_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch too small for the widest stroke would cut shapes straight."""
    paint, borders = data._item, []

    def item(*args: object) -> tuple[np.ndarray, np.ndarray]:
        colour, alpha = paint(*args)
        borders.append(max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()))
        return colour, alpha

    monkeypatch.setattr(data, "_item", item)
    for seed in range(60):
        data.draw_image(np.random.default_rng(seed))
    assert len(borders) > 200
    assert max(borders) == 0


def test_a_finished_set_is_left_alone(shapes: Path) -> None:
    """A second call must cost nothing and must not touch what Ultralytics has added since."""
    cache = shapes / "labels" / "train.cache"
    cache.write_bytes(b"cache")
    before = {path: path.stat().st_mtime_ns for path in shapes.rglob("*")}
    assert draw_shapes(shapes, train=120, val=20) == shapes
    assert {path: path.stat().st_mtime_ns for path in shapes.rglob("*")} == before
    cache.unlink()


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    """A folder made in advance is no reason to stop."""
    (tmp_path / "shapes").mkdir()
    assert (draw_shapes(tmp_path / "shapes", 1, 1) / data.MARKER).is_file()
    assert os.listdir(tmp_path) == ["shapes"]


def test_a_foreign_folder_is_refused_untouched(tmp_path: Path) -> None:
    """Somebody's own pictures may lie under the same name."""
    root = tmp_path / "shapes"
    root.mkdir()
    (root / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"absent, empty or a drawn set, got .*shapes.*'holiday.jpg'.*Move it"):
        draw_shapes(root, 1, 1)
    assert contents(tmp_path) == {"shapes/holiday.jpg": b"mine"}


def test_a_file_is_refused_untouched(tmp_path: Path) -> None:
    """The name may belong to a file."""
    (tmp_path / "shapes").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="root must be a folder"):
        draw_shapes(tmp_path / "shapes", 1, 1)
    assert contents(tmp_path) == {"shapes": b"mine"}


def test_a_damaged_set_is_refused_untouched(tmp_path: Path) -> None:
    """Drawing over a set from which the user removed something would undo or mix his work."""
    root = draw_shapes(tmp_path / "shapes", 2, 2)
    shutil.rmtree(root / "images" / "val")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"must be complete, got .*shapes without .*00000.jpg"):
        draw_shapes(root, 2, 2)
    assert contents(tmp_path) == before


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    """A set of another size or seed must not pass for the one asked for."""
    draw_shapes(tmp_path / "shapes", 2, 2)
    with pytest.raises(FileExistsError, match=r'"train": 3.*"train": 2'):
        draw_shapes(tmp_path / "shapes", 3, 2)


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": -1}, {"seed": -1}])
def test_wrong_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    """A set without images would fail much later, inside Ultralytics."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"draw_shapes: {name} must be at least ., got {value}"):
        draw_shapes(tmp_path / "shapes", **wrong)


def test_a_killed_run_leaves_no_set(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Half a set would be taken for a whole one by every later run."""
    root = tmp_path / "shapes"
    processes.append(start(root, train=100_000))
    release(*processes)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".draw_shapes-*/images/train/00003.jpg")):
        assert time.monotonic() < deadline
        assert processes[0].poll() is None
        time.sleep(0.01)
    processes[0].kill()
    processes[0].wait()
    assert not root.exists()
    if os.name == "posix":
        assert processes[0].returncode == -signal.SIGKILL
    draw_shapes(root, 3, 2)
    assert len(contents(root)) == 2 * (3 + 2) + 1
    if os.name == "posix":  # elsewhere the left-over is known by its age alone
        assert os.listdir(tmp_path) == ["shapes"]


def test_two_processes_at_once_share_one_set(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Several runs start at once in a comparison, and every one of them may be the first."""
    root = tmp_path / "shapes"
    root.mkdir()  # empty: both try to replace it
    processes += [start(root, train=80) for _ in range(2)]
    release(*processes)
    assert [process.wait(30) for process in processes] == [0, 0]
    assert os.listdir(tmp_path) == ["shapes"]
    assert len(contents(root)) == 2 * (80 + 2) + 1
    assert draw_shapes(root, 80, 2) == root


def test_a_process_that_comes_second_uses_the_set_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a fixed order: the other finishes while we draw."""
    root, draw, rivals = tmp_path / "shapes", data._write_split, []

    def overtaken(*args: object) -> None:
        draw(*args)
        if not rivals:
            rivals.append(None)  # the rival's own call below comes here too
            rivals.append(draw_shapes(root, 2, 1).stat().st_ino)

    monkeypatch.setattr(data, "_write_split", overtaken)
    assert draw_shapes(root, 2, 1).stat().st_ino == rivals[1]
    assert os.listdir(tmp_path) == ["shapes"]


def test_only_stale_folders_are_swept(tmp_path: Path) -> None:
    """What killed runs left must not pile up, and what another machine is drawing must stay."""
    old, new = (tmp_path / f".draw_shapes-{key}-{10**9}-else.where-{key}.tmp" for key in ("old", "new"))
    for folder in (old, new):
        (folder / "images").mkdir(parents=True)
    os.utime(old, (time.time() - data.STALE_S - 60,) * 2)
    draw_shapes(tmp_path / "shapes", 1, 1)
    assert sorted(os.listdir(tmp_path)) == [new.name, "shapes"]


def test_yaml_agrees_with_the_classes_and_draws_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in another order would mislabel every result; the `download` lines run as Ultralytics runs them."""
    text = yaml.safe_load((REPO / "cfg" / "datasets" / "shapes.yaml").read_text(encoding="utf-8"))
    assert tuple(text["names"][i] for i in range(len(CLASSES))) == CLASSES
    monkeypatch.setattr(draw_shapes, "__defaults__", (2, 2, 0))
    root = tmp_path / text["path"]
    exec(text["download"], {"yaml": {**text, "path": root}})
    assert (root / text["train"] / "00001.jpg").is_file()
    assert (root / text["val"] / "00001.jpg").is_file()
