"""COCO's average precision of boxes, and how it varies when the images are drawn again. NumPy only.

Boxes are matched once; a bootstrap then only weighs the images, a weight being how many times an image counts:

    matches = match(predictions, truths, images=87, classes=3, size="small")
    ap = mean_over_classes(average_precision(matches))[0].mean()
    spread = mean_over_classes(average_precision(matches, resamples(87))).mean(1).std()

References:
    Lin et al., ECCV 2014, arXiv:1405.0312, and its evaluation code, pycocotools 2.0: the same numbers.
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6: images are drawn with all their boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .matching import IOU, SIZES, Boxes, Floats, Hits, Ints, Matches, match, whole

__all__ = ["IOU", "RECALL", "SIZES", "Boxes", "Matches", "average_precision", "match", "mean_over_classes", "resamples"]

RECALL = np.linspace(0.0, 1.0, 101)
CHUNK = 1 << 20  # elements of the largest temporary arrays


def average_precision(matches: Matches, weights: ArrayLike | None = None) -> Floats:
    """Average precision: the mean of the interpolated precision at 101 recalls.

    Args:
        matches: What `match` returns.
        weights: How many times (R, images) each image counts in each resample, as from `resamples`; by default once.

    Returns:
        Average precision (R, C, 10) from 0 to 1 per resample, class and IoU threshold; nan for a class without truth.
        It is that of a data set that holds each image as often as its weight, up to the order of equal scores.

    Raises:
        ValueError: If the weights are no whole numbers from 0, or their shape is another.
    """
    classes, images = matches.truths.shape
    given = np.ones((1, images), np.int64) if weights is None else np.asarray(weights)
    w = whole("average_precision: weights", given, (given.shape[0] if given.ndim else 1, images))
    truths = w @ matches.truths.T
    result = np.zeros((len(w), classes, len(IOU)))
    for c, hits in enumerate(matches.hits):
        rows = max(1, CHUNK // max(len(hits.inside), len(hits.images), len(RECALL)))
        for start in range(0, len(w), rows):
            part = slice(start, start + rows)
            result[part, c] = _of_class(hits, w[part], truths[part, c])
    result[truths == 0] = np.nan
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
        seed: Non-negative seed. With the same one for all models, a resample is the same draw of images for all.

    Returns:
        How many times (count, images) each image was drawn.

    Raises:
        ValueError: If images or count is not positive or seed is negative.
    """
    for name, value, least in (("images", images, 1), ("count", count, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"resamples: {name} must be at least {least}, got {value}. Pass a larger number.")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), count)


def _of_class(hits: Hits, w: Ints, truths: Ints) -> Floats:
    """Average precision (R, 10) of one class under weights (R, images) that leave it (R,) truths.

    Between right detections precision only falls, so that it needs to be known at right ones alone.
    """
    result = np.zeros((len(w), len(IOU)))
    inside = np.zeros((len(w), len(hits.inside) + 1), np.int64)
    np.cumsum(w[:, hits.inside], 1, out=inside[:, 1:])
    inside, w = inside[:, hits.before], w[:, hits.images]
    needed = _needed(truths)
    row = np.arange(len(w))[:, None] * (truths.max() + 1)  # added, it makes of all rows one rising array
    for i in range(len(IOU)):
        at = np.flatnonzero(hits.right[:, i])
        if not len(at):
            continue
        counted = inside[:, at]
        if hits.correction[:, i].any():
            counted += np.cumsum(w * hits.correction[:, i], 1)[:, at]
        right = np.cumsum(w[:, at], 1)
        precision = right / np.maximum(counted, 1)  # nothing counts before the first drawn image
        best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        first = np.searchsorted((right + row).ravel(), (needed + row).ravel()).reshape(needed.shape)
        reached = needed <= right[:, -1:]
        result[:, i] = np.where(reached, best.ravel()[np.where(reached, first, 0)], 0).mean(1)
    return result


def _needed(truths: Ints) -> Ints:
    """Least number (R, 101) of right detections whose recall of (R,) truths reaches each point of RECALL.

    Recalls are compared as floating-point numbers, as in pycocotools: 35 of 100 are below 0.35000000000000003.
    """
    n = np.maximum(truths, 1)[:, None]
    needed = np.ceil(RECALL * n).astype(np.int64)
    needed -= (needed - 1) / n >= RECALL
    needed += needed / n < RECALL
    return needed
