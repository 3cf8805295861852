"""The data set of a comparison: found, read once before anything runs, and which splits a score can be measured on."""

from __future__ import annotations

from collections.abc import Mapping
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

MEASURED = ("val", "test")


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        yaml: Path of its YAML, or the name that Ultralytics finds it by.
        names: Names of the classes.
        images: Number of images by split.
    """

    yaml: str
    names: tuple[str, ...]
    images: dict[str, int]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that models are measured on."""
        return tuple(split for split in MEASURED if split in self.images)


def check_data(data: str, task: str, train: Mapping[str, Any]) -> Data:
    """Read all splits, which also writes Ultralytics' label caches before runs side by side would.

    Args:
        data: YAML of the data set.
        task: The task that its labels are for.
        train: Ultralytics' train arguments.

    Raises:
        FileNotFoundError: If the YAML or the images are missing.
        ValueError: If images or labels can't be used.
    """
    if not data or not isinstance(data, str):
        raise ValueError(f"data: the YAML of a data set is needed, got {data!r}. Write data=my.yaml.")
    try:
        found = check_det_dataset(data)
    except (FileNotFoundError, RuntimeError, SyntaxError, ConnectionError) as error:
        raise FileNotFoundError(f"data: {data}: {_one_line(error)}") from error
    cfg: Any = get_cfg(overrides={"task": task, **train})
    images = {}
    for split in ("train", *MEASURED):
        if not found.get(split):
            continue
        try:
            dataset: Any = build_yolo_dataset(cfg, found[split], 1, found, mode="val")
            labels = dataset.labels
        except (FileNotFoundError, RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(f"data: {split} of {data}: {_one_line(error)}") from error
        if split != "test" or any(len(label["cls"]) for label in labels):  # public test sets often have no labels
            images[split] = len(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        loader = build_dataloader(dataset, 1, 0)
    if footing.shuffles_alike(loader):
        LOGGER.info(
            f"Ultralytics {__version__} shuffles the images alike for every seed; in a comparison the seed counts."
        )
    path = Path(data)
    yaml = str(path.resolve()) if path.exists() else str(found.get("yaml_file") or data)
    return Data(yaml, tuple(str(name) for name in found["names"].values()), images)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
