"""Average precision: the numbers of pycocotools, and those of data sets whose images are repeated."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo_attn.comparison import ap, matching
from yolo_attn.comparison.ap import SIZES, Boxes, average_precision, match, mean_over_classes, resamples

IMAGES, CLASSES = 24, 4
NO_BOX = np.zeros((0, 4))


def scene(
    seed: int, images: int = IMAGES, classes: int = CLASSES, truths: int = 14, noise: int = 20, grid: bool = False
) -> tuple[Boxes, Boxes]:
    """Predictions and truths in crowds of many sizes; on a grid, so that areas, overlaps and scores are often equal."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> NDArray[np.float64]:
        corner, sides = rng.uniform(0, 120, (count, 2)), np.exp(rng.uniform(np.log(12), np.log(160), (count, 2)))
        return np.hstack((corner, corner + sides))

    count = rng.poisson(truths, images)
    image = np.repeat(np.arange(images), count)
    true, kind = boxes(len(image)), rng.integers(classes, size=len(image))
    source = np.repeat(np.arange(len(image)), rng.integers(0, 4, len(image)))  # each is found up to three times
    sides = np.tile(true[source, 2:] - true[source, :2], 2)
    near = true[source] + sides * rng.normal(0, 0.08, sides.shape)
    other = np.repeat(np.arange(images), rng.poisson(noise, images))
    found = np.vstack((near, boxes(len(other))))
    score = np.hstack((rng.beta(4, 2, len(near)), rng.beta(1, 3, len(other))))
    if grid:
        true, found, score = 16 * np.round(true / 16), 16 * np.round(found / 16), np.round(score, 1)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
    kinds = np.hstack((kind[source], rng.integers(classes, size=len(other))))
    return Boxes(found, kinds, np.hstack((image[source], other)), score), Boxes(true, kind, image)


def coco(predictions: Boxes, truths: Boxes, images: int, classes: int) -> dict[str, NDArray[np.float64]]:
    """Average precision (C, 10) by size as pycocotools has it, nan for its -1."""

    def annotations(boxes: Boxes) -> list[dict[str, object]]:
        scores = np.zeros(len(boxes.xyxy)) if boxes.scores is None else boxes.scores
        rows = zip(boxes.xyxy, boxes.classes, boxes.images, scores, strict=True)
        return [
            {
                "id": i,
                "image_id": int(image),
                "category_id": int(kind),
                "bbox": [*box[:2], *(box[2:] - box[:2])],
                "area": np.prod(box[2:] - box[:2]),
                "iscrowd": 0,
                "score": score,
            }
            for i, (box, kind, image, score) in enumerate(rows, 1)
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(images)],
            "categories": [{"id": c} for c in range(classes)],
            "annotations": annotations(truths),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(annotations(predictions)), "bbox")
        evaluation.params.maxDets = [300]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0].mean(1)  # thresholds, classes, sizes
    precision[precision < 0] = np.nan
    return {size: precision[..., i].T for i, size in enumerate(evaluation.params.areaRngLbl)}


def repeated(boxes: Boxes, weights: Sequence[int]) -> Boxes:
    """The boxes of a data set that holds each image as often as its weight."""
    origin = np.repeat(np.arange(len(weights)), weights)
    pairs = [(box, new) for new, old in enumerate(origin) for box in np.flatnonzero(boxes.images == old)]
    at, image = np.array(pairs).reshape(-1, 2).T
    return Boxes(boxes.xyxy[at], boxes.classes[at], image, None if boxes.scores is None else boxes.scores[at])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("grid", (False, True), ids=("crowd", "ties"))
@pytest.mark.parametrize("seed, images, classes", ((0, IMAGES, CLASSES), (1, 60, 2), (6, 1, 1), (3, 5, 30)))
def test_the_numbers_of_pycocotools(seed: int, images: int, classes: int, grid: bool, size: str) -> None:
    """A table would hold other numbers than the papers that it is compared with."""
    predictions, truths = scene(seed, images, classes, grid=grid)
    expected = coco(predictions, truths, images, classes)[size]
    result = average_precision(match(predictions, truths, images, classes, size))
    np.testing.assert_allclose(result, expected[None], rtol=0, atol=1e-9)
    mean = mean_over_classes(result)[0]
    np.testing.assert_allclose([mean.mean(), mean[0]], [np.nanmean(expected), np.nanmean(expected[:, 0])], atol=1e-9)


def test_every_recall_point_of_pycocotools() -> None:
    """35 truths of 100 would count as recall 0.35, which pycocotools writes as 0.35000000000000003."""
    for count in (1, 2, 7, 100, 101, 200, 300):
        box = np.tile((0.0, 0.0, 40.0, 40.0), (count, 1))
        truths = Boxes(box, np.zeros(count), np.arange(count))
        found = [k for k in range(count) for _ in range(1 + k % 3)]  # precision falls at each wrong one
        predictions = Boxes(box[found], np.zeros(len(found)), found, np.linspace(1, 0, len(found)))
        result = average_precision(match(predictions, truths, count, 1), np.ones((2, count)))
        expected = coco(predictions, truths, count, 1)["all"]
        np.testing.assert_allclose(result, [expected, expected], rtol=0, atol=1e-9)


def test_a_prediction_as_near_to_two_truths() -> None:
    """It would take another of the two than in pycocotools, and leave the other prediction right instead of wrong."""
    truths = Boxes([[0, 0, 40, 40], [16, 0, 56, 40]], [0, 0], [0, 0])
    predictions = Boxes([[8, 0, 48, 40], [16, 0, 56, 40]], [0, 0], [0, 0], [0.9, 0.8])
    result = average_precision(match(predictions, truths, 1, 1))
    np.testing.assert_allclose(result[0], coco(predictions, truths, 1, 1)["all"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_a_resample_is_a_data_set_with_repeated_images(size: str) -> None:
    """The spread would be of something else than of average precision."""
    predictions, truths = scene(0)
    weights = resamples(IMAGES, 4)
    result = average_precision(match(predictions, truths, IMAGES, CLASSES, size), weights)
    for one, row in zip(result, weights, strict=True):
        matches = match(repeated(predictions, row), repeated(truths, row), IMAGES, CLASSES, size)
        np.testing.assert_allclose(one, average_precision(matches)[0], rtol=0, atol=1e-12)


def test_all_images_twice() -> None:
    """Average precision would depend on the number of images."""
    matches = match(*scene(0), IMAGES, CLASSES)
    twice = average_precision(matches, np.full((3, IMAGES), 2))
    assert (twice == average_precision(matches)).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_order_of_boxes(size: str) -> None:
    """Images read in another order would change the result."""
    predictions, truths = scene(0)
    rng = np.random.default_rng(1)
    p, t = rng.permutation(len(predictions.xyxy)), rng.permutation(len(truths.xyxy))
    shuffled = (
        Boxes(predictions.xyxy[p], predictions.classes[p], predictions.images[p], predictions.scores[p]),
        Boxes(truths.xyxy[t], truths.classes[t], truths.images[t]),
    )
    one, other = (match(*boxes, IMAGES, CLASSES, size) for boxes in ((predictions, truths), shuffled))
    weights = resamples(IMAGES, 5)
    assert np.array_equal(average_precision(one, weights), average_precision(other, weights), equal_nan=True)


def test_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large data set, computed in parts, would get other numbers."""
    boxes, weights = scene(0), resamples(IMAGES, 7)
    whole = average_precision(match(*boxes, IMAGES, CLASSES, "small"), weights)
    monkeypatch.setattr(matching, "CHUNK", 9)
    monkeypatch.setattr(ap, "CHUNK", 3 * 101)  # up to three resamples
    assert np.array_equal(average_precision(match(*boxes, IMAGES, CLASSES, "small"), weights), whole, equal_nan=True)


def test_nothing_found_and_nothing_there() -> None:
    """A model that finds nothing, or a split without labels, would end a comparison."""
    predictions, truths = scene(0)
    none, empty = Boxes(NO_BOX, [], [], []), Boxes(NO_BOX, [], [])
    weights = resamples(IMAGES, 3)
    assert (average_precision(match(none, truths, IMAGES, CLASSES), weights) == 0).all()
    for found in (predictions, none):
        result = average_precision(match(found, empty, IMAGES, CLASSES), weights)
        assert result.shape == (3, CLASSES, 10) and np.isnan(result).all()
        assert mean_over_classes(result).shape == (3, 10) and np.isnan(mean_over_classes(result)).all()


def test_a_class_that_a_resample_lacks() -> None:
    """It would count as zero and widen the spread, or make the mean of the others nan."""
    box = np.tile((0.0, 0.0, 40.0, 40.0), (2, 1))
    matches = match(Boxes(box, [0, 1], [0, 1], [0.9, 0.8]), Boxes(box, [0, 1], [0, 1]), 2, 2)
    result = average_precision(matches, [[1, 1], [2, 0], [0, 0]])
    assert np.array_equal(result[..., 0], [[1, 1], [1, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(mean_over_classes(result)[:, 0], [1, 1, np.nan], equal_nan=True)


def test_the_spread_is_that_of_fresh_images() -> None:
    """The interval would be too narrow or too wide: its sd is compared with that over newly drawn data sets."""
    images, sets = 60, 150

    def value(boxes: tuple[Boxes, Boxes], weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        return mean_over_classes(average_precision(match(*boxes, images, 2), weights)).mean(1)

    scenes = [scene(seed, images, 2, truths=4) for seed in range(sets)]
    fresh = np.std([value(boxes)[0] for boxes in scenes], ddof=1)
    spread = np.mean([value(boxes, resamples(images, 200)).std(ddof=1) for boxes in scenes[:20]])
    assert spread == pytest.approx(fresh, rel=0.2)  # three times the 6 % by which the sd over 150 sets varies


def test_resamples() -> None:
    """Models would be compared on different draws, or on too many images."""
    weights = resamples(50, 400, seed=1)
    assert weights.shape == (400, 50) and (weights.sum(1) == 50).all()
    assert (weights == resamples(50, 400, seed=1)).all() and (weights != resamples(50, 400, seed=2)).any()
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)


BOX = [[0, 0, 9, 9]]


@pytest.mark.parametrize(
    "call, message",
    (
        (lambda: Boxes([0, 0, 9, 9], [0], [0]), "xyxy must be (N, 4), got (4,)"),
        (lambda: Boxes([[9, 0, 0, 9]], [0], [0]), "x0 <= x1 and y0 <= y1, got [9.0, 0.0, 0.0, 9.0]"),
        (lambda: Boxes([[0, 0, 9, np.nan]], [0], [0]), "must be finite"),
        (lambda: Boxes(BOX, [0, 1], [0]), "classes must have the shape (1,), got (2,)"),
        (lambda: Boxes(BOX, [0.5], [0]), "classes must be whole numbers from 0, got 0.5"),
        (lambda: Boxes(BOX, [np.nan], [0]), "classes must be whole numbers from 0, got nan"),
        (lambda: Boxes(BOX, [0], [-1]), "images must be whole numbers from 0, got -1"),
        (lambda: Boxes(BOX, [0], [0], [0.5, 0.5]), "scores must be 1 finite numbers"),
        (lambda: Boxes(BOX, [0], [0], [np.nan]), "scores must be 1 finite numbers"),
        (lambda: match(Boxes(BOX, [0], [0]), Boxes(BOX, [0], [0]), 1, 1), "predictions must have scores"),
        (lambda: match(*scene(0), IMAGES, CLASSES, "tiny"), "size must be one of all, small, medium, large"),
        (lambda: match(*scene(0), IMAGES - 1, CLASSES), f"images of predictions must be below {IMAGES - 1}"),
        (lambda: match(*scene(0), IMAGES, 1), "classes of predictions must be below 1"),
        (lambda: average_precision(match(*scene(0), IMAGES, CLASSES), np.ones(IMAGES)), "must have the shape"),
        (lambda: average_precision(match(*scene(0), IMAGES, CLASSES), [[1]]), "must have the shape"),
        (lambda: average_precision(match(*scene(0), IMAGES, CLASSES), 1), "must have the shape"),
        (lambda: average_precision(match(*scene(0), IMAGES, CLASSES), [[0.5] * IMAGES]), "whole numbers from 0"),
        (lambda: resamples(0), "images must be at least 1, got 0"),
        (lambda: resamples(1, 0), "count must be at least 1, got 0"),
        (lambda: resamples(1, seed=-1), "seed must be at least 0, got -1"),
    ),
)
def test_wrong_input(call, message: str) -> None:
    """The message would not say what to change, or a wrong number would come out."""
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
