"""COCO's average precision of boxes, by object size, and how it varies when the images are drawn again. NumPy only.

Boxes are matched once; a bootstrap then only weighs the images. A weight is how many times an image counts, and a
resample is a row of weights:

    matches = match(predictions, truths, images=87, classes=3, size="small")
    value = mean_over_classes(average_precision(matches))[0].mean()
    spread = mean_over_classes(average_precision(matches, resamples(87))).mean(1).std()

References:
    Lin et al., ECCV 2014, arXiv:1405.0312, and its evaluation code, pycocotools 2.0. Differs: areas of truths are those
    of their boxes, not of masks; no truth is a crowd; all detections given count, however many an image has.
"""

from __future__ import annotations

from dataclasses import dataclass
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
RECALL = np.linspace(0.0, 1.0, 101)
CHUNK = 1 << 20  # elements of the largest temporary arrays


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of a data set: predictions, or with no scores the truth.

    Args:
        xyxy: Corners (N, 4) x0, y0, x1, y1 in pixels of the original images.
        classes: Class ids (N,).
        images: Numbers (N,) of the images, from 0.
        scores: Confidences (N,), None for truths.

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
            ids = _whole(f"Boxes: {name}", getattr(self, name), (len(xyxy),))
            object.__setattr__(self, name, ids)
        if self.scores is not None and len(self.scores):
            scores = np.asarray(self.scores, np.float64)
            if scores.shape != (len(xyxy),) or not np.isfinite(scores).all():
                raise ValueError(
                    f"Boxes: scores must be {len(xyxy)} finite numbers, got shape {scores.shape}. Give one for each box."
                )
            object.__setattr__(self, "scores", scores)

    def areas(self) -> Floats:
        """Areas (N,) in square pixels."""
        sides: Floats = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return sides[:, 0] * sides[:, 1]


@dataclass(frozen=True, eq=False)
class Hits:
    """The detections of one class, by falling score; of those that no truth takes, only the images are kept.

    A detection that is neither within the range of sizes nor matched to a truth within it does not count.

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
        hits: Detections of each class.
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
    hits = []
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        part = slice(start, stop)
        bits = 1 << np.arange(len(IOU))
        at = start + np.flatnonzero(right[part] | ignored[part])
        is_right, is_ignored = (right[at, None] & bits) > 0, (ignored[at, None] & bits) > 0
        counted = is_right | (~is_ignored & inside[at, None])
        hits.append(
            Hits(
                found.images[part][inside[part]],
                found.images[at],
                np.cumsum(inside[part])[at - start],
                is_right,
                counted.astype(np.int8) - inside[at, None].astype(np.int8),
            )
        )
    return Matches(counts, tuple(hits))


def average_precision(matches: Matches, weights: ArrayLike | None = None) -> Floats:
    """Average precision: the mean of the interpolated precision at 101 recalls.

    Args:
        matches: What `match` returns.
        weights: How many times (R, images) each image counts in each resample, as from `resamples`; by default once.

    Returns:
        Average precision (R, C, 10) from 0 to 1 per resample, class and IoU threshold; nan for a class without truth.
        A resample gives what the images repeated so would give, but for equal scores, which have no order.

    Raises:
        ValueError: If the weights are no whole numbers from 0, or their shape is another.
    """
    classes, images = matches.truths.shape
    if weights is None:
        weights = np.ones((1, images), np.int64)
    w = _whole("average_precision: weights", weights, (len(np.atleast_1d(weights)), images))
    positives = w @ matches.truths.T
    result = np.full((len(w), classes, len(IOU)), np.nan)
    for c, hits in enumerate(matches.hits):
        rows = max(1, CHUNK // max(len(hits.inside), len(hits.images), len(RECALL)))
        for start in range(0, len(w), rows):
            part = slice(start, start + rows)
            result[part, c] = _average_precision(hits, w[part], positives[part, c])
    return result


def mean_over_classes(precision: Floats) -> Floats:
    """Mean (R, 10) of average precision (R, C, 10) over the classes that have a truth; nan where none has."""
    known = ~np.isnan(precision)
    total = np.where(known, precision, 0).sum(1)
    return np.divide(total, known.sum(1), out=np.full_like(total, np.nan), where=known.any(1))


def resamples(images: int, count: int = 1000, seed: int = 0) -> Ints:
    """Draw as many images as there are, with replacement, many times over.

    Args:
        images: Number of images.
        count: Number of resamples.
        seed: Non-negative seed. All models compared need the same: a resample is then one sample of images for all.

    Returns:
        How many times (count, images) each image was drawn.

    Raises:
        ValueError: If images or count is not positive or seed is negative.
    """
    for name, value, least in (("images", images, 1), ("count", count, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"resamples: {name} must be at least {least}, got {value}. Pass a larger number.")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), count)


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
    kept = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for part in np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(ends // CHUNK)) + 1):
        sizes = (last - first)[part]
        t = np.repeat(part, sizes)
        d = order[np.arange(len(t)) + np.repeat(first[part] - (np.cumsum(sizes) - sizes), sizes)]
        a, b = found.xyxy[d], truths.xyxy[t]
        sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        shared = np.where((sides > 0).all(1), sides[:, 0] * sides[:, 1], 0)
        union = areas[d] + truth_areas[t] - shared
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
        near = iou >= IOU[0]
        kept.append((d[near], t[near], iou[near]))
    return tuple(map(np.concatenate, zip(*kept, strict=True)))  # type: ignore[return-value]


def _average_precision(hits: Hits, w: Ints, positives: Ints) -> Floats:
    """Average precision (R, 10) of one class under weights (R, images) that leave (R,) truths.

    Precision peaks at right detections, so that only there it needs to be known.
    """
    result = np.zeros((len(w), len(IOU)))
    result[positives == 0] = np.nan
    if not len(hits.images) or not positives.any():
        return result
    seen = np.zeros((len(w), len(hits.inside) + 1), np.int64)
    np.cumsum(w[:, hits.inside], 1, out=seen[:, 1:])
    seen, w = seen[:, hits.before], w[:, hits.images]
    needed = _needed(positives)
    offset = np.arange(len(w))[:, None] * (positives.max() + 1)  # makes one rising array of the rows
    for i in range(len(IOU)):
        at = np.flatnonzero(hits.right[:, i])
        if not len(at):
            continue
        counted = seen[:, at]
        if hits.correction[:, i].any():
            counted += np.cumsum(w * hits.correction[:, i], 1)[:, at]
        right = np.cumsum(w[:, at], 1)
        precision = right / np.maximum(counted, 1)  # nothing counted: nothing right
        best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        place = np.searchsorted((right + offset).ravel(), (needed + offset).ravel())
        best = np.append(best, 0)[place].reshape(needed.shape)
        result[:, i] = np.where(needed <= right[:, -1:], best, 0).mean(1)
    result[positives == 0] = np.nan
    return result


def _needed(positives: Ints) -> Ints:
    """Least number (R, 101) of right detections, from 1, whose recall of (R,) truths reaches each point of RECALL.

    Compared as floating-point numbers, as in pycocotools, where 35 of 100 miss 0.35000000000000003.
    """
    n = np.maximum(positives, 1)[:, None]
    needed = np.maximum(np.ceil(RECALL * n).astype(np.int64), 1)
    needed -= (needed > 1) & ((needed - 1) / n >= RECALL)
    needed += needed / n < RECALL
    return needed


def _whole(what: str, given: ArrayLike, shape: tuple[int, ...]) -> Ints:
    """An array of whole numbers from 0, of a shape."""
    values: NDArray[Any] = np.asarray(given)
    if values.shape != shape:
        raise ValueError(f"{what} must have the shape {shape}, got {values.shape}. Give one number for each.")
    whole = values.astype(np.int64)
    if (whole != values).any() or (whole < 0).any():
        wrong = values[(whole != values) | (whole < 0)][0]
        raise ValueError(f"{what} must be whole numbers from 0, got {wrong}. Give integers.")
    return whole
