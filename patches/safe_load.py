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


def apply() -> None:
    """Allow the registered classes and their helpers, and name what a checkpoint misses."""
    subscribe(allow)
    wrap(tasks, "torch_safe_load", _explained, everywhere=True)


def allow(spec: Spec) -> None:
    """Let restricted loading (ULTRALYTICS_SAFE_LOAD=1) rebuild a class and its package's layers in its file."""
    file = spec.cls.__module__
    layers = {
        c for c in vars(sys.modules.get(file, spec.cls)).values() if inspect.isclass(c) and issubclass(c, nn.Module)
    }
    ours = {c for c in layers if c.__module__.partition(".")[0] == file.partition(".")[0]}
    torch.serialization.add_safe_globals(list(ours | {spec.cls}))


def _explained(stock: Callable) -> Callable:
    def torch_safe_load(weight, *args, **kwargs):
        try:
            return stock(weight, *args, **kwargs)
        except (AttributeError, ModuleNotFoundError, TypeError) as error:
            if lacking := _lacking(error):
                raise ModuleNotFoundError(f"{weight} {lacking}") from error
            raise

    return torch_safe_load


def _lacking(error: Exception) -> str:
    """What a checkpoint needs that is not there, and what to do; "" where something else is wrong."""
    if found := re.search(r"attribute '(\w+)' on <module '([\w.]+)'", str(error)):
        name, module = found.groups()
        package = module.partition(".")[0]
        return (
            f"needs the class {module}.{name}, which is gone. Install the version of {package} that it was made with."
        )
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("ultralytics"):
        return f"needs {error.name!r}, which Python cannot import. Install it, or put its folder on PYTHONPATH."
    if found := re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error.__cause__)):
        module = found[1].rpartition(".")[0]
        return f"holds {found[1]}, which restricted loading does not know. Import {module}, which registers it, before."
    return ""
