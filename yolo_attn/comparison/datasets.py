"""The data set of a comparison: found, read once before anything runs, and which splits a score can be measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ultralytics import __version__
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_dataloader, build_yolo_dataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.utils import LOGGER

from ..patches import footing
from .ap import SIZES
from .formats import one_line

MEASURED = ("val", "test")


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        yaml: Path of its YAML.
        names: Names of the classes.
        images: Number of images by split.
        digest: Tells its images' names and labels from others.
    """

    yaml: str
    names: tuple[str, ...]
    images: dict[str, int]
    digest: str

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that models are measured on."""
        return tuple(split for split in MEASURED if split in self.images)


def headings(names: Sequence[str]) -> list[str]:
    """Names of classes as columns have them, apart from each other and from the sizes of objects."""
    return [f"{name} ({i})" if name in SIZES or names.count(name) > 1 else name for i, name in enumerate(names)]


def check_data(data: str | Path, task: str, train: Mapping[str, Any]) -> Data:
    """Read all splits, which also writes Ultralytics' label caches before runs side by side would.

    Args:
        data: YAML of the data set, or a name that Ultralytics finds it by.
        task: The task that its labels are for.
        train: Ultralytics' train arguments.

    Raises:
        FileNotFoundError: If the YAML or the images are missing.
        ValueError: If images or labels can't be used.
    """
    if not data or not isinstance(data, (str, Path)):
        raise ValueError(f"data: the YAML of a data set is needed, got {data!r}. Write data=my.yaml.")
    try:
        found = check_det_dataset(str(data))
    except (FileNotFoundError, RuntimeError, SyntaxError, ConnectionError) as error:
        raise FileNotFoundError(f"data: {data}: {one_line(error)}") from error
    cfg: Any = get_cfg(overrides={"task": task, **train})
    images = {}
    digest = hashlib.sha256()
    for split in ("train", *MEASURED):
        if not found.get(split):
            continue
        try:
            dataset: Any = build_yolo_dataset(cfg, found[split], 1, found, mode="val")
            labels = dataset.labels
        except (FileNotFoundError, RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(f"data: {split} of {data}: {one_line(error)}") from error
        if not any(len(label["cls"]) for label in labels):
            if split == "test":  # public test sets often have no labels
                continue
            raise ValueError(f"data: {split} of {data} has no labels. Put them where Ultralytics looks for them.")
        images[split] = len(labels)
        _digest(labels, digest)
        if task == "detect" and split in MEASURED and not footing.distinct([label["im_file"] for label in labels]):
            LOGGER.warning(
                f"Several images of {split} have one name in different folders: there will be no scores by size of "
                "object, and no intervals over images. Rename the images to have them."
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        loader = build_dataloader(dataset, 1, 0)
    if footing.shuffles_alike(loader):
        LOGGER.info(
            f"Ultralytics {__version__} shuffles the images alike for every seed; in a comparison the seed counts."
        )
    path = Path(data)
    yaml = str(path.resolve()) if path.is_file() else str(found.get("yaml_file") or data)
    names = ("item",) if cfg.single_cls else tuple(str(name) for name in found["names"].values())
    return Data(yaml, names, images, digest.hexdigest()[:12])


def _digest(labels: Sequence[Mapping[str, Any]], digest: Any) -> None:
    for label in labels:
        digest.update(Path(label["im_file"]).name.encode())
        for part in ("cls", "bboxes", "keypoints"):
            if label.get(part) is not None:
                digest.update(label[part].tobytes())
        for segment in label.get("segments", ()):
            digest.update(segment.tobytes())
