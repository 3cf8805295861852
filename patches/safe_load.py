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
    """Let restricted loading (ULTRALYTICS_SAFE_LOAD=1) rebuild a class and every layer that its file defines."""
    file = sys.modules.get(spec.cls.__module__)
    helpers = {c for c in vars(file).values() if inspect.isclass(c) and c.__module__ == spec.cls.__module__} if file else set()
    torch.serialization.add_safe_globals([spec.cls, *(c for c in helpers if issubclass(c, nn.Module))])


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
