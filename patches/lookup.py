"""Packaged YAMLs are found by bare name from any directory; a file of the user's always wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePath

from ultralytics.nn import tasks
from ultralytics.utils import checks

from ..registry import suggest
from ..rows import check_row
from ._wrap import wrap

CFG = Path(__file__).parents[1] / "cfg"  # beside patches/, in a checkout and in a wheel


def apply() -> None:
    """Extend the lookup of files, which serves model and dataset YAMLs, and the loading of model YAMLs."""
    wrap(checks, "check_file", _finder, everywhere=True)
    wrap(tasks, "yaml_model_load", _checked, everywhere=True)


def unscaled(name: str) -> str:
    """File name without its scale letter: yolov8n-dattn.yaml -> yolov8-dattn.yaml."""
    return re.sub(r"(\d+)[nslmx](.+)?$", r"\1\2", name)  # upstream's rule, on the file's name alone


def packaged(file: str | PurePath) -> Path | None:
    """The packaged YAML that a bare name or cfg/<name> means, or None."""
    path = PurePath(str(file))
    if path.parent == PurePath("."):
        folders = [CFG, CFG / "datasets"]
    elif path.parts[0] == "cfg":
        folders = [CFG.parent / path.parent]
    else:
        return None
    candidates = ((folder / unscaled(path.name)).resolve() for folder in folders)
    return next((c for c in candidates if c.is_file() and c.is_relative_to(CFG.resolve())), None)


def _finder(stock: Callable) -> Callable:
    """Upstream's lookup, then ours."""

    def check_file(file, suffix="", download=True, download_dir=".", hard=True):
        arguments = (suffix, download, download_dir)
        path = Path(str(file))
        if path.suffix not in (".yaml", ".yml"):
            return stock(file, *arguments, hard)
        if found := stock(file, *arguments, False):
            return found
        sibling = path.with_name(unscaled(path.name))
        if sibling.is_file():  # upstream strips scale letters from the folders' names too and misses this
            return str(sibling)
        ours = packaged(file)
        # A try for a model that may fail is left to fail: upstream's next one, the name without its scale letter, must
        # still find the user's own file.
        if ours and (hard or ours.parent.name == "datasets"):
            return str(ours)
        try:
            return stock(file, *arguments, hard)
        except FileNotFoundError as error:
            near = suggest(unscaled(path.name), [p.name for p in CFG.rglob("*.yaml")])
            raise FileNotFoundError(f"{error}{'.' if near else ''}{near}") from error

    return check_file


def _checked(stock: Callable) -> Callable:
    def yaml_model_load(path, *args, **kwargs):
        try:
            d = stock(path, *args, **kwargs)
        except (AttributeError, TypeError) as error:  # upstream sets keys on whatever the file held
            raise _not_a_model(path) from error
        if not isinstance(d, dict) or not all(isinstance(d.get(k), list) and d[k] for k in ("backbone", "head")):
            raise _not_a_model(path)
        for i, row in enumerate([*d["backbone"], *d["head"]]):
            try:
                check_row(row)
            except ValueError as error:
                raise ValueError(f"{path}, row {i}: {error}") from error
        return d

    return yaml_model_load


def _not_a_model(path) -> ValueError:
    return ValueError(
        f"{path}: a model YAML must be a mapping with lists `backbone` and `head`. Start from a copy of yolov8.yaml."
    )
