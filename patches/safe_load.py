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
    layers = {c for c in vars(sys.modules[file]).values() if inspect.isclass(c) and issubclass(c, nn.Module)}
    ours = {c for c in layers if c.__module__.partition(".")[0] == file.partition(".")[0]}
    torch.serialization.add_safe_globals(list(ours | {spec.cls}))


def _explained(stock: Callable) -> Callable:
    def torch_safe_load(weight, *args, **kwargs):
        try:
            return stock(weight, *args, **kwargs)
        except AttributeError as error:
            missing = re.search(r"attribute '(\w+)' on <module '([\w.]+)'", str(error))
            if not missing:
                raise
            name, module = missing.groups()
            raise ModuleNotFoundError(
                f"{weight} needs the class {module}.{name}, which is not there. Install the version of "
                f"{module.partition('.')[0]} that the checkpoint was made with."
            ) from error

    return torch_safe_load
