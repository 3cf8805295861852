"""Packaged YAMLs are found by bare name from any directory; a file of the user's always wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePath

from ultralytics.data import utils as data_utils
from ultralytics.nn import tasks

from ._wrap import wrap

CFG = Path(__file__).parents[1] / "cfg"  # beside patches/, in a checkout and in a wheel


def apply() -> None:
    """Extend the lookup of model YAMLs and that of dataset YAMLs, which are two functions."""
    wrap(tasks, "check_yaml", lambda stock: _finder(stock, CFG, soft=False))
    wrap(data_utils, "check_file", lambda stock: _finder(stock, CFG / "datasets", soft=True))
    wrap(tasks, "yaml_model_load", _checked, everywhere=True)


def unscaled(name: str) -> str:
    """File name without its scale letter: yolov8n-dattn.yaml -> yolov8-dattn.yaml."""
    return re.sub(r"^(yolo(?:e-)?v?\d+)[nslmx]", r"\1", name)


def packaged(file: str | PurePath, folder: Path) -> Path | None:
    """The packaged YAML that a bare name or cfg/<name> means, or None."""
    path = PurePath(str(file))
    if path.parent not in (PurePath("."), PurePath("cfg"), PurePath("cfg/datasets")):
        return None
    found = folder / unscaled(path.name)
    return found if found.is_file() else None


def _finder(stock: Callable, folder: Path, soft: bool) -> Callable:
    """Upstream's lookup, then ours. With soft=False a lookup that may fail is left to fail, so that upstream's next try
    (the name without its scale letter) still comes before the packaged files."""

    def find(file, *args, hard: bool = True, **kwargs):
        if found := stock(file, *args, hard=False, **kwargs):
            return found
        path = Path(str(file))
        sibling = path.with_name(unscaled(path.name)) if path.name else path
        if sibling.is_file():  # upstream strips the scale letter from the folders' names too and misses this
            return str(sibling)
        if (hard or soft) and (ours := packaged(file, folder)):
            return str(ours)
        return stock(file, *args, hard=hard, **kwargs)

    return find


def _checked(stock: Callable) -> Callable:
    def yaml_model_load(path, *args, **kwargs):
        try:
            d = stock(path, *args, **kwargs)
        except (AttributeError, TypeError) as error:  # upstream sets keys on whatever the file held
            raise _not_a_model(path) from error
        if not isinstance(d, dict) or not isinstance(d.get("backbone"), list) or not isinstance(d.get("head"), list):
            raise _not_a_model(path)
        return d

    return yaml_model_load


def _not_a_model(path) -> ValueError:
    return ValueError(
        f"{path}: a model YAML must be a mapping with the lists `backbone` and `head`. Start from a copy of yolov8.yaml."
    )
