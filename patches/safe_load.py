"""Checkpoints with registered modules: allowed under restricted loading, and a clear word where a class is missing."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable

import torch
from torch import nn
from ultralytics.nn import tasks

from ..registry import Spec, subscribe
from ._wrap import wrap

PACKAGE = __name__.partition(".")[0]


def apply() -> None:
    """Allow the registered classes and their helpers, and name what a checkpoint misses."""
    subscribe(allow)
    wrap(tasks, "torch_safe_load", _explained, everywhere=True)
    if hasattr(tasks, "check_requirements"):  # with which upstream installs what a checkpoint lacks, as yet
        wrap(tasks, "check_requirements", _not_ours)


def allow(spec: Spec) -> None:
    """Let restricted loading (ULTRALYTICS_SAFE_LOAD=1) rebuild a class and its package's layers, of its file and of the
    files that these come from."""
    package = spec.cls.__module__.partition(".")[0]
    found: set[type] = set()
    new: set[type] = {spec.cls}
    while new:
        found |= new
        files = {sys.modules.get(each.__module__, each) for each in new}
        layers = {c for file in files for c in vars(file).values() if inspect.isclass(c) and issubclass(c, nn.Module)}
        new = {c for c in layers if c.__module__.partition(".")[0] == package} - found
    torch.serialization.add_safe_globals(list(found))


def _explained(stock: Callable) -> Callable:
    def torch_safe_load(weight, *args, **kwargs):
        try:
            return stock(weight, *args, **kwargs)
        except (AttributeError, ModuleNotFoundError, TypeError) as error:
            if lacking := _lacking(error):
                raise ModuleNotFoundError(f"{weight} {lacking}") from error
            raise

    return torch_safe_load


def _not_ours(stock: Callable) -> Callable:
    """A file that a checkpoint misses in this package is no package of a registry, where anybody may take its name."""

    def check_requirements(requirements, *args, **kwargs):
        if str(requirements).startswith(f"{PACKAGE}."):
            raise ModuleNotFoundError(f"No module named {requirements!r}", name=requirements)
        return stock(requirements, *args, **kwargs)

    return check_requirements


def _lacking(error: Exception) -> str:
    """What a checkpoint needs that is not there, and what to do; "" where something else is wrong."""
    if found := re.search(r"attribute '(\w+)' on <module '([\w.]+)'", str(error)):
        name, module = found.groups()
        package = module.partition(".")[0]
        do = f"Install the version of {package} that it was made with."
        if package == "ultralytics":
            do = f"{do[:-1]}; if that was an edited copy, move the checkpoint: yolo-attn migrate."
        if module.endswith("__main__"):  # of `python -m` it is that of a package
            do = "Define it in this program, too, before you load; or train with the class in a file of its own."
        return f"needs the class {module}.{name}, which is gone. {do}"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith(f"{PACKAGE}."):
        return f"needs {error.name}, which is gone. Install the version of {PACKAGE} that it was made with."
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ultralytics"):
        return f"needs {error.name!r}, which Python cannot import. Install it, or put its folder on PYTHONPATH."
    if found := re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error.__cause__)):
        module = found[1].rpartition(".")[0]
        package = module.partition(".")[0]
        if package in {"", *sys.stdlib_module_names}:  # no layer, whatever it is there for
            return ""
        if package == PACKAGE:
            return f"holds {found[1]}, which is no layer of this {PACKAGE}. Install the version that it was made with."
        return (
            f"holds {found[1]}, which restricted loading does not know. If it is a layer that you trust, import "
            f"{module}, which registers it, before."
        )
    return ""
