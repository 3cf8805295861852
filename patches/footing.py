"""Runs on the same footing: seeds and threads of a training, and what a validation saw, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.utils import exif_size
from ultralytics.utils import RANK

FIXED_SEED = 6148914691236517205 + RANK  # of data loaders, where Ultralytics doesn't add the run's seed


def shuffles_alike(loader: Any) -> bool:
    """Whether a data loader is seeded with Ultralytics' constant alone, in spite of a seed other than 0."""
    return loader.generator is not None and loader.generator.initial_seed() == FIXED_SEED


def seed_loader(trainer: Any) -> None:
    """Let the order of the training images, and what its workers draw, depend on the seed in every Ultralytics."""
    loader = trainer.train_loader
    if trainer.args.seed and shuffles_alike(loader):
        loader.generator.manual_seed(FIXED_SEED + trainer.args.seed)  # as those do that count it
        loader.reset()


def set_threads(threads: int) -> None:
    """CPU threads, which Ultralytics sets to one less than the machine has whenever it selects a device."""
    if threads:
        torch.set_num_threads(threads)


def is_finite(trainer: Any) -> bool:
    """Whether the mean losses of the epoch are."""
    losses = trainer.tloss
    values: Iterable[Any] = losses.values() if isinstance(losses, dict) else [losses]
    return all(bool(torch.as_tensor(value).isfinite().all()) for value in values if value is not None)


def distinct(files: Sequence[str]) -> bool:
    """Whether Ultralytics' predictions tell images apart, of which they have the names without folder and ending."""
    return len(_index(files)) == len(files)


def detections(validator: Any) -> tuple[NDArray, NDArray, list[str]] | None:
    """Boxes of a validation with save_json=True: predicted, true, and the image files.

    Returns:
        Predictions (P, 7) and truths (T, 6): index of the image, class, x0, y0, x1, y1 in pixels of the original image,
        and for predictions the score. Images are in the order of their names, so that it is the same for every model.
        None if the images are not `distinct`.
    """
    labels = sorted(validator.dataloader.dataset.labels, key=lambda label: label["im_file"])
    files = [label["im_file"] for label in labels]
    index = _index(files)
    if len(index) < len(files):
        return None
    classes = {number: c for c, number in enumerate(validator.class_map)}
    predicted = [
        (index[_image(each["image_id"])], classes[each["category_id"]], *_corners(each["bbox"]), each["score"])
        for each in validator.jdict
    ]
    true = []
    for i, label in enumerate(labels):
        w, h = _size(label["im_file"])
        centre, size = label["bboxes"][:, :2], label["bboxes"][:, 2:]
        corners = np.concatenate((centre - size / 2, centre + size / 2), 1) * (w, h, w, h)
        true.append(np.column_stack((np.full(len(corners), i), label["cls"].reshape(-1), corners)))
    return np.array(predicted, float).reshape(-1, 7), np.concatenate(true).reshape(-1, 6), files


def _index(files: Sequence[str]) -> dict[str | int, int]:
    return {_image(Path(file).stem): i for i, file in enumerate(files)}


def _image(name: str | int) -> str | int:
    """The name of an image as Ultralytics writes it: a number where it can be one."""
    return int(name) if isinstance(name, str) and name.isnumeric() else name


def _size(file: str) -> tuple[int, int]:
    """Width and height of an image as Ultralytics loads it; its labels don't hold them in every version."""
    with Image.open(file) as image:
        return exif_size(image)


def _corners(box: list[float]) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x, y, x + w, y + h
