"""The `shapes` data set: detection images that the package draws itself, so that everything runs with no download.

An image is a textured background with shapes and distractors pasted in random order, so that some hide others. Size,
colour, texture, rotation and style are drawn independently of the class: only the outline tells it. Coordinates are
OpenCV's: x to the right, y down, in pixels; images are (H, W, 3) in BGR, from 0 to 255.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, the last two exclusive
Item = tuple[int, int, Box]  # class id, -1 for a distractor; pixels when whole; box of the whole, clipped to the image

CLASSES = ("circle", "square", "triangle", "star", "cross", "crescent")  # position = class id, as in shapes.yaml
DISTRACTORS = ("blob", "bar")  # pasted like the shapes, never labelled
STYLES = ("plain", "textured", "bordered", "hollow")
MIN_PX, MAX_PX = 10, 120  # longer side of a shape, before its stroke and before the image border cuts it
MIN_VISIBLE = 0.3  # a shape of which less is left, hidden or cut off, gets no label
MARKER = "shapes.json"  # lies in a finished set and says how it was drawn
STALE_S = 3600  # a drawing takes seconds: what is an hour old was left by a killed run


def draw_shapes(root: str | Path, train: int = 384, val: int = 96, seed: int = 0) -> Path:
    """Draw the shapes set into `root`, unless it is there already.

    The set is drawn in a folder beside `root` and renamed whole: a killed run leaves no half set, and of several
    processes at once the first to finish gives the set that all use. An empty `root` is replaced; nothing else that
    exists is touched.

    Args:
        root: Folder of the set; it gets images/{train,val}/*.jpg, labels/{train,val}/*.txt and a marker file.
        train: Number of training images.
        val: Number of validation images.
        seed: Non-negative seed. Image i of a split depends on the seed, the split and i alone; the bytes are the same
            on one machine with one version of NumPy and OpenCV.

    Returns:
        The absolute path of the set.

    Raises:
        ValueError: If train or val is not positive or seed is negative.
        FileExistsError: If `root` holds anything but this very set, complete.
    """
    for name, value, least in (("train", train, 1), ("val", val, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"draw_shapes: {name} must be at least {least}, got {value}. Pass a larger number.")
    root = Path(root).expanduser().resolve()  # behind any link, so that the rename stays on one file system
    recipe = {"version": 1, "train": train, "val": val, "seed": seed}
    if _is_drawn(root, recipe):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    # Not mkdtemp: its mode 0700 would stay on the set and lock other users out of a shared datasets folder
    temporary = root.parent / f".draw_shapes-{uuid.uuid4().hex[:8]}-{os.getpid()}-{platform.node()}.tmp"
    try:
        temporary.mkdir()
        _write_split(temporary, "train", train, (seed, 0))
        _write_split(temporary, "val", val, (seed, 1))
        (temporary / MARKER).write_text(json.dumps(recipe), encoding="utf-8")
        _publish(temporary, root, recipe)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # no longer there where it became the set
        _sweep(root.parent)
    return root


def _is_drawn(root: Path, recipe: dict[str, int]) -> bool:
    """Return True for the finished set, False for an absent or empty folder; raise FileExistsError for all else."""
    remedy = "Move it away, or give another `path:` in a copy of shapes.yaml."
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise FileExistsError(f"draw_shapes: root must be a folder, got the file {root}. {remedy}") from None
    if not names:
        return False
    if MARKER not in names:
        held = f"which holds {names[0]!r} and no {MARKER}"
        raise FileExistsError(f"draw_shapes: root must be absent, empty or a drawn set, got {root}, {held}. {remedy}")
    found, wanted = (root / MARKER).read_text(encoding="utf-8", errors="replace"), json.dumps(recipe)
    if found != wanted:
        raise FileExistsError(f"draw_shapes: root must be drawn as {wanted}, got {root}, drawn as {found}. {remedy}")
    files = (file for split in ("train", "val") for i in range(recipe[split]) for file in _files(root, split, i))
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise FileExistsError(f"draw_shapes: root must be complete, got {root} without {missing}. {remedy}")
    return True


def _publish(temporary: Path, root: Path, recipe: dict[str, int]) -> None:
    """Rename the finished folder to `root`, or leave it where it is if another process was first."""
    try:
        with suppress(FileNotFoundError):
            root.rmdir()  # only if empty; Windows renames onto no folder at all
        os.rename(temporary, root)
    except OSError:
        if not _is_drawn(root, recipe):
            raise


def _sweep(folder: Path) -> None:
    """Remove what killed runs left in `folder`: of a process of this machine that is gone, or older than STALE_S."""
    for path in folder.glob(".draw_shapes-*-*-*.tmp"):
        pid, host = path.stem.split("-", 3)[2:]
        with suppress(OSError):  # another process may sweep at the same time
            gone = host == platform.node() and not _may_run(pid)
            if gone or time.time() - path.stat().st_mtime > STALE_S:
                shutil.rmtree(path, ignore_errors=True)


def _may_run(pid: str) -> bool:
    """Say whether process `pid` may be running: always on Windows, where os.kill would end it instead of asking."""
    try:
        if os.name != "nt":
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):  # somebody else's process, or no process number
        return True
    return True


def _files(root: Path, split: str, index: int) -> tuple[Path, Path]:
    """Return the image file and the label file of one image."""
    return root / "images" / split / f"{index:05d}.jpg", root / "labels" / split / f"{index:05d}.txt"


def _write_split(root: Path, split: str, count: int, key: tuple[int, int]) -> None:
    """Draw `count` images and their labels, each from a generator seeded with `key` and its number."""
    for file in _files(root, split, 0):
        file.parent.mkdir(parents=True)
    for index in range(count):
        image, labels = draw_image(np.random.default_rng((*key, index)))
        image_file, label_file = _files(root, split, index)
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        image_file.write_bytes(jpeg.tobytes())  # not cv2.imwrite: it fails on non-ASCII paths on Windows
        rows = (f"{int(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in labels)
        label_file.write_bytes("".join(rows).encode())


def draw_image(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Draw one image.

    Args:
        rng: Source of everything random.

    Returns:
        Image (H, W, 3), H and W from 256 to 320, and labels (n, 5), n >= 0: class, x and y of the centre, width and
        height, relative to the image. A box holds the whole shape, hidden parts too, clipped to the image.
    """
    h, w = (int(side) for side in rng.choice((256, 288, 320), 2))
    image = _background(rng, h, w)
    owner = np.full((h, w), -1)  # the item that a pixel shows
    items: list[Item] = []
    centre, size = np.array((w, h)) / 2, float(MIN_PX)
    for kind in rng.permutation([*rng.choice(CLASSES, rng.poisson(5)), *rng.choice(DISTRACTORS, rng.integers(5))]):
        last, reach = centre, size
        size = float(np.exp(rng.uniform(np.log(MIN_PX), np.log(MAX_PX))))
        centre = rng.uniform((0, 0), (w, h))
        if rng.random() < 0.3:  # over the edge of the last one instead, for overlaps
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.45) * (reach + size)
            centre = np.clip(last + distance * np.array((np.cos(angle), np.sin(angle))), 0, (w, h))
        area, box = _paste(rng, image, owner, len(items), kind, size, centre)
        items.append((CLASSES.index(kind) if kind in CLASSES else -1, area, box))
    blurred = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.2, 0.9))
    grain = rng.standard_normal((h, w, 1), np.float32) * np.float32(rng.uniform(1, 8))
    return np.clip(blurred + grain, 0, 255).astype(np.uint8), _labels(owner, items)


def _labels(owner: NDArray[np.int_], items: list[Item]) -> NDArray[np.float64]:
    """Return the rows (n, 5) of the shapes of which enough is left in `owner` (H, W), where item i is the number i."""
    h, w = owner.shape
    seen = np.bincount(owner[owner >= 0], minlength=len(items))
    rows = [
        (c, (x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h)
        for number, (c, area, (x0, y0, x1, y1)) in enumerate(items)
        if c >= 0 and seen[number] >= MIN_VISIBLE * area
    ]
    return np.array(rows, np.float64).reshape(-1, 5)


def _paste(
    rng: np.random.Generator,
    image: Floats,
    owner: NDArray[np.int_],
    number: int,
    kind: str,
    size: float,
    centre: Floats,
) -> tuple[int, Box]:
    """Paint an item over `image` (H, W, 3), and its number into `owner` (H, W); return its area and clipped box."""
    h, w = owner.shape
    side = int(size * 1.2) + 8  # a stroke stands out by 0.07 of the size, or a pixel or two, on either side
    left, top = (int(edge) - side // 2 for edge in centre)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, w), min(top + side, h)
    cut = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    behind = image[y0:y1, x0:x1]
    paint, alpha = _item(rng, kind, size, side, behind.mean((0, 1)))
    behind += alpha[cut][..., None] * (paint[cut] - behind)
    mask = alpha > 0.5
    owner[y0:y1, x0:x1][mask[cut]] = number
    x, y, across, down = cv2.boundingRect(mask.astype(np.uint8))
    x, y = left + x, top + y
    return int(mask.sum()), (max(x, 0), max(y, 0), min(x + across, w), min(y + down, h))


def _item(rng: np.random.Generator, kind: str, size: float, side: int, behind: Floats) -> tuple[Floats, Floats]:
    """Return paint (side, side, 3) and opacity (side, side), 0 to 1, of an item that shows on the colour `behind`."""
    style, stroke = rng.choice(STYLES), max(2, round(size * rng.uniform(0.06, 0.14)))
    points = np.round((_outline(rng, kind) * size + side / 2) * 16).astype(np.int32)  # 4 fractional bits
    fill = cv2.fillPoly(np.zeros((side, side), np.uint8), [points], 255, cv2.LINE_AA, 4) / np.float32(255)
    edge = cv2.polylines(np.zeros((side, side), np.uint8), [points], True, 255, stroke, cv2.LINE_AA, 4)
    edge = edge / np.float32(255)
    colours = rng.uniform(0, 255, (12, 3)).astype(np.float32)
    main = colours[np.argmax(np.abs(colours - behind).sum(1) > 150)]  # the first that differs enough
    other = colours[np.argmax(np.abs(colours - main).sum(1) > 150)]
    paint = np.full((side, side, 3), main)
    if style in ("textured", "bordered"):
        paint += (edge if style == "bordered" else _texture(rng, side, side))[..., None] * (other - main)
    return paint, {"hollow": edge, "bordered": np.maximum(fill, edge)}.get(style, fill)


def _outline(rng: np.random.Generator, kind: str) -> Floats:
    """Return the corners (n, 2) of a kind, squeezed and turned at random, in a box around 0 with longer side 1."""
    counts = {"square": 4, "triangle": 3, "star": 10}
    turn = np.linspace(0, 2 * np.pi, counts.get(kind, 64), endpoint=False)
    corners: Floats = np.stack((np.cos(turn), np.sin(turn)), 1)
    if kind == "star":
        corners[1::2] *= 0.42
    elif kind == "cross":
        corners = np.array([(0.34, 1), (0.34, 0.34), (1, 0.34), (1, -0.34), (0.34, -0.34), (0.34, -1)])
        corners = np.concatenate((corners, -corners))
    elif kind == "crescent":  # a circle without its last 108 degrees, and back on a narrower arc
        arc = corners[:45] @ np.array([(-0.59, -0.81), (0.81, -0.59)])  # turned so that the gap is centred
        corners = np.concatenate((arc, arc[::-1] * (0.62, 1) + (arc[0, 0] * 0.38, 0)))
    elif kind == "blob":
        waves = [rng.uniform(0.1, 0.3) * np.sin(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4)]
        corners *= 1 + np.sum(waves, 0)[:, None]
    elif kind == "bar":
        corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * (1, rng.uniform(0.03, 0.1))
    angle, squeeze = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1)
    c, s = np.cos(angle), np.sin(angle)
    corners = corners * (1, squeeze) @ np.array([(c, s), (-s, c)])
    low, high = corners.min(0), corners.max(0)
    return (corners - (low + high) / 2) / (high - low).max()


def _texture(rng: np.random.Generator, h: int, w: int) -> Floats:
    """Return a field (h, w) from 0 to 1: a ramp, stripes and noise at four scales, a few of which dominate."""
    ramp_weight, stripes_weight, *noise_weights = rng.random(6, np.float32) ** 3
    angle, waves = rng.uniform(0, 2 * np.pi), rng.uniform(2, 16)
    x, y = np.linspace(-0.5, 0.5, w, dtype=np.float32), np.linspace(-0.5, 0.5, h, dtype=np.float32)
    ramp = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y[:, None]
    field = ramp_weight * ramp + stripes_weight / 2 * np.sin(np.float32(2 * np.pi * waves) * ramp)
    for weight, cells in zip(noise_weights, (3, 8, 24, 72), strict=True):
        field += cv2.resize(rng.random((cells, cells), np.float32) * weight, (w, h), interpolation=cv2.INTER_LINEAR)
    return cv2.normalize(field, field, 0, 1, cv2.NORM_MINMAX)


def _background(rng: np.random.Generator, h: int, w: int) -> Floats:
    """Return a background (h, w, 3): one colour that drifts along two textures."""
    base, drift = rng.uniform(30, 225, 3), rng.standard_normal((3, 2)) * 60
    fields = cv2.merge((_texture(rng, h, w), _texture(rng, h, w)))
    return np.clip(cv2.transform(fields, np.column_stack((drift, base - drift.mean(1)))), 0, 255)
