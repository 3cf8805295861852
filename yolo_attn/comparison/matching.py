"""Match predicted boxes to true ones as COCO does, by object size. NumPy only.

References:
    Lin et al., ECCV 2014, arXiv:1405.0312, and its evaluation code, pycocotools 2.0. Differs: areas of truths are those
    of their boxes, not of masks; no truth is a crowd; all detections given count, however many an image has.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SIZES = {  # area of a box in pixels of the original image, both ends inclusive
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
IOU = np.linspace(0.5, 0.95, 10)  # as pycocotools spaces them: a value at a threshold falls on the same side
CHUNK = 1 << 20  # pairs of boxes at a time


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of a data set: predictions, or with no scores the truth.

    Args:
        xyxy: Corners (N, 4) x0, y0, x1, y1 in pixels of the original images.
        classes: Class ids (N,).
        images: Numbers (N,) of the images, from 0.
        scores: Confidences (N,), none for truths.

    Raises:
        ValueError: If lengths differ, a number is not finite, a corner lies before the other, or an id is no id.
    """

    xyxy: Floats
    classes: Ints
    images: Ints
    scores: Floats | None = None

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, np.float64)
        if xyxy.ndim != 2 or xyxy.shape[1] != 4:
            raise ValueError(f"Boxes: xyxy must be (N, 4), got {xyxy.shape}. Give x0, y0, x1, y1 of each box.")
        wrong = ~(np.isfinite(xyxy).all(1) & (xyxy[:, 2:] >= xyxy[:, :2]).all(1))
        if wrong.any():
            first = xyxy[wrong.argmax()].tolist()
            raise ValueError(f"Boxes: xyxy must be finite with x0 <= x1 and y0 <= y1, got {first}. Order the corners.")
        object.__setattr__(self, "xyxy", xyxy)
        for name in ("classes", "images"):
            object.__setattr__(self, name, whole(f"Boxes: {name}", getattr(self, name), (len(xyxy),)))
        if self.scores is not None:
            scores = np.asarray(self.scores, np.float64)
            if scores.shape not in ((len(xyxy),), (0,)) or not np.isfinite(scores).all():
                rule = f"be {len(xyxy)} finite numbers"
                raise ValueError(f"Boxes: scores must {rule}, got {scores!r:.80}. Give one for each box, or None.")
            object.__setattr__(self, "scores", scores)

    def areas(self) -> Floats:
        """Areas (N,) in square pixels."""
        sides: Floats = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return sides[:, 0] * sides[:, 1]


@dataclass(frozen=True, eq=False)
class Hits:
    """The detections of one class by falling score, in short: most take no truth and differ by their image only.

    A detection counts if it takes a truth within the range of sizes, or takes none and is within the range itself.

    Args:
        inside: Images (D,) of the detections whose own size is within the range.
        images: Images (M,) of those matched to a truth at any threshold.
        before: Number (M,) of detections `inside` up to each matched one, itself included.
        right: Whether (M, 10) each is matched to a truth within the range, per IoU threshold.
        correction: 1, 0 or -1 (M, 10): whether each counts, less whether it is inside.
    """

    inside: Ints
    images: Ints
    before: Ints
    right: NDArray[np.bool_]
    correction: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Matches:
    """What average precision needs to know of predictions and truths.

    Args:
        truths: Number (C, images) of truths within the range of sizes.
        hits: The detections of each of C classes.
    """

    truths: Ints
    hits: tuple[Hits, ...]


def match(predictions: Boxes, truths: Boxes, images: int, classes: int, size: str = "all") -> Matches:
    """Match predictions to truths of the same image and class, as COCO does, at each IoU threshold.

    In the order of scores each prediction takes the free truth with the largest IoU, one within the range of sizes if
    there is any. Equal scores keep their order.

    Args:
        predictions: Boxes with scores.
        truths: Boxes without.
        images: Number of images, those without boxes included.
        classes: Number of classes.
        size: One of SIZES. A truth outside, and a prediction that takes it, or is itself outside and takes none, do not
            count.

    Returns:
        The matches.

    Raises:
        ValueError: If the size is unknown, scores are missing, or an image or class is out of range.
    """
    if size not in SIZES:
        raise ValueError(f"match: size must be one of {', '.join(SIZES)}, got {size!r}. Choose one of these.")
    if predictions.scores is None or len(predictions.scores) != len(predictions.xyxy):
        raise ValueError("match: predictions must have scores, got none. Give Boxes their scores.")
    for what, boxes in (("predictions", predictions), ("truths", truths)):
        for name, ids, stop in (("images", boxes.images, images), ("classes", boxes.classes, classes)):
            if ids.size and ids.max() >= stop:
                raise ValueError(f"match: {name} of {what} must be below {stop}, got {ids.max()}. Give all {name}.")
    low, high = SIZES[size]
    wanted = (low <= truths.areas()) & (truths.areas() <= high)
    counts = np.zeros((classes, images), np.int64)
    np.add.at(counts, (truths.classes[wanted], truths.images[wanted]), 1)

    order = np.lexsort((predictions.images, -predictions.scores, predictions.classes))
    found = Boxes(predictions.xyxy[order], predictions.classes[order], predictions.images[order])
    right, ignored = _assign(found, truths, wanted)
    inside = (low <= found.areas()) & (found.areas() <= high)
    ends = np.searchsorted(found.classes, np.arange(classes + 1))
    parts = [slice(*pair) for pair in pairwise(ends)]
    hits = (_hits(found.images[part], inside[part], right[part], ignored[part]) for part in parts)
    return Matches(counts, tuple(hits))


def _hits(images: Ints, inside: NDArray[np.bool_], right: Ints, ignored: Ints) -> Hits:
    """Sum up the detections (N,) of one class, with what `_assign` says of them."""
    at = np.flatnonzero(right | ignored)
    is_right, is_ignored = ((bits[at, None] >> np.arange(len(IOU)) & 1) > 0 for bits in (right, ignored))
    counts = is_right | (inside[at, None] & ~is_ignored)
    correction = counts.astype(np.int8) - inside[at, None]
    return Hits(images[inside], images[at], np.cumsum(inside, dtype=np.int64)[at], is_right, correction)


def _assign(found: Boxes, truths: Boxes, wanted: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Thresholds at which each of (N,) detections takes a wanted and an unwanted truth, as bits.

    Thresholds know nothing of each other: a pair is decided at all of them at once by operations on bits.
    """
    d, t, iou = _pairs(found, truths)
    order = np.lexsort((-t, -iou, ~wanted[t], d))  # of truths with equal IoU COCO takes the last
    reached = (1 << np.searchsorted(IOU, iou, "right")) - 1
    right, ignored = [0] * len(found.xyxy), [0] * len(found.xyxy)
    free, is_wanted = [(1 << len(IOU)) - 1] * len(truths.xyxy), wanted.tolist()
    for i, j, bits in zip(d[order].tolist(), t[order].tolist(), reached[order].tolist(), strict=True):
        taken = bits & free[j] & ~(right[i] | ignored[i])
        free[j] &= ~taken
        if is_wanted[j]:
            right[i] |= taken
        else:
            ignored[i] |= taken
    return np.array(right, np.int64), np.array(ignored, np.int64)


def _pairs(found: Boxes, truths: Boxes) -> tuple[Ints, Ints, Floats]:
    """Indices of detections and truths of one image and class that overlap by the least threshold, and their IoU."""
    classes = 1 + max(found.classes.max(initial=0), truths.classes.max(initial=0))
    groups, wanted = (boxes.images * classes + boxes.classes for boxes in (found, truths))
    order = np.argsort(groups, kind="stable")
    first, last = (np.searchsorted(groups[order], wanted, side) for side in ("left", "right"))
    ends = np.cumsum(last - first)
    areas, truth_areas = found.areas(), truths.areas()
    kept = []
    for part in np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(ends // CHUNK)) + 1):
        sizes = (last - first)[part]
        t = np.repeat(part, sizes)
        d = order[np.arange(len(t)) + np.repeat(first[part] - (np.cumsum(sizes) - sizes), sizes)]
        a, b = found.xyxy[d], truths.xyxy[t]
        sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
        shared = sides[:, 0] * sides[:, 1]
        union = areas[d] + truth_areas[t] - shared
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
        near = iou >= IOU[0]
        kept.append((d[near], t[near], iou[near]))
    d, t, iou = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return d, t, iou


def whole(what: str, given: ArrayLike, shape: tuple[int, ...]) -> Ints:
    """An array of whole numbers from 0, of a shape."""
    values: NDArray[Any] = np.asarray(given)
    if values.shape != shape:
        raise ValueError(f"{what} must have the shape {shape}, got {values.shape}. Give one number for each.")
    with np.errstate(invalid="ignore"):  # nan and infinity, which differ from any integer
        integers = values.astype(np.int64)
    wrong = (integers != values) | (integers < 0)
    if wrong.any():
        raise ValueError(f"{what} must be whole numbers from 0, got {values[wrong][0]}. Give integers.")
    return integers
