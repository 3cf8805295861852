"""Pretrained weights follow their layers, wherever registered modules were inserted in between."""

from __future__ import annotations

import copy
import logging
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from ultralytics.nn import tasks
from ultralytics.utils import LOGGER

from ..files import whole
from ..transfer import Layer, align, first_difference
from . import host
from ._wrap import wrap
from .host import Model

loaded: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # models that were given weights in this process


def apply() -> None:
    """Extend BaseModel.load, through which every transfer of weights goes."""
    wrap(tasks.BaseModel, "load", _following)


def _following(stock: Callable) -> Callable:
    def load(self, weights, verbose: bool = True):
        loaded.add(self)
        source: Any = (weights.get("ema") or weights.get("model")) if isinstance(weights, dict) else weights
        if not isinstance(getattr(source, "model", None), nn.Sequential):
            return stock(self, weights, verbose)
        have, want = host.layers(source), host.layers(self)
        if not any(layer.extra for layer in have + want):
            return stock(self, weights, verbose)
        kept = align(have, want)
        if kept is None:
            LOGGER.warning(_unaligned(source, have, want))
            return stock(self, weights, verbose)
        with _reported(self, source, have, want, kept):
            result = stock(self, view(source, kept), verbose)
        names = getattr(source, "names", None) or {}
        placeholders = getattr(self, "names", None) == {i: str(i) for i in range(len(names))}
        if placeholders and not hasattr(self, "set_classes") and not lost(self, source, have, kept):  # as upstream does
            self.names = dict(names)
        return result

    return load


def view(source: Model, kept: Sequence[int | None]) -> Model:
    """A model that shares the source's layers, numbered as in the model that they go to; nothing is copied."""
    shallow = copy.copy(source)
    shallow._modules = dict(source._modules)
    shallow._modules["model"] = nn.Sequential(*(nn.Identity() if i is None else source.model[i] for i in kept))
    return shallow


@contextmanager
def _reported(
    model: Model, source: Model, have: list[Layer], want: list[Layer], kept: Sequence[int | None]
) -> Iterator[None]:
    """Say what happened in the place of upstream's line, which counts the new layers' tensors as missed."""
    alike = {i: j for j, i in enumerate(kept) if i is not None and have[i].kind == want[j].kind}
    new = {j: layer.name for j, layer in enumerate(want) if layer.extra and j not in alike.values()}
    unknown = {j: _unknown(model.model[j], None if (i := kept[j]) is None else source.model[i]) for j in new}
    tensors = sum(unknown.values())
    used = {i for j, i in enumerate(kept) if unknown.get(j) != len(model.model[j].state_dict())}
    gone = {i: layer.name for i, layer in enumerate(have) if layer.extra and i not in alike}
    unused = (i for i in range(len(have)) if i not in used and i not in gone)
    replaced = {i: have[i].kind for i in unused if source.model[i].state_dict()}

    def rewrite(record: logging.LogRecord) -> bool:
        if said := re.match(r"Transferred (\d+)/(\d+) items", str(record.msg)):
            parts = [f"Transferred {said[1]}/{int(said[2]) - tensors} tensors from {_name(source)}"]
            parts += [f"{tensors} new in {_listed(new, 'inserted')}"] if new else []
            parts += [f"{_listed(gone, 'removed')} left out"] if gone else []
            parts += [f"{_listed(replaced, 'replaced')} left out"] if replaced else []
            record.msg = "; ".join(parts)
        return True

    LOGGER.addFilter(rewrite)
    try:
        yield
    finally:
        LOGGER.removeFilter(rewrite)


def _unknown(layer: nn.Module, source: nn.Module | None) -> int:
    """How many tensors of a layer the one that it stands for doesn't have."""
    known = {} if source is None else source.state_dict()
    return sum(key not in known for key in layer.state_dict())


def _listed(layers: dict[int, str], what: str) -> str:
    each = ", ".join(f"{i}: {kind}" for i, kind in layers.items())
    return f"{len(layers)} {what} layer{'s' if len(layers) > 1 else ''} ({each})"


def _name(source: Model) -> str:
    return Path(getattr(source, "pt_path", None) or "the given model").name


def _unaligned(source: Model, have: list[Layer], want: list[Layer]) -> str:
    row = first_difference(have, want)
    return (
        f"weights of {_name(source)} are matched by layer number only, because the models differ apart from inserted "
        f"layers: row {row} ({want[row].kind}) is the first that does."
    )


def save(d: Mapping[str, Any], weights: str, out: Path) -> None:
    """Write a checkpoint of a model with the weights, class names and number of classes of another checkpoint.

    Raises:
        ValueError: If a weight has no place in the model.
    """
    from ultralytics import YOLO

    try:
        yolo: Any = YOLO(weights)
    except AttributeError as error:  # upstream takes whatever the file held for a model
        raise ValueError(f"weights: {weights} must be a checkpoint of Ultralytics: {error}. Give another.") from error
    source = yolo.model
    task = {key: source.yaml[key] for key in ("nc", "kpt_shape", "channels") if key in source.yaml}
    model = host.build({**d, **task})
    model.load(source)
    have = host.layers(source)
    if missed := lost(model, source, have, align(have, host.layers(model)) or []):
        raise ValueError(
            f"weights: {len(missed)} of {len(source.state_dict())} tensors of {weights} have no place in the model, "
            f"{missed[0]} first. Take a base of the same family, task and scale."
        )
    model.names, model.args, model.task = source.names, source.args, source.task
    for name, value in vars(source).items():  # the text of open-vocabulary models is no weight
        if isinstance(value, Tensor):
            setattr(model, name, value)
    yolo.model = model
    yolo.ckpt = {"epoch": -1, "ema": None, "optimizer": None, "train_args": yolo.ckpt.get("train_args", {})}
    with whole(out) as temporary:
        yolo.save(str(temporary))


def placed(model: Model, source: Model) -> int:
    """How many of the source's tensors have their place in a model that was given its weights."""
    have = host.layers(source)
    kept = align(have, host.layers(model))
    if kept is None:  # they went by number
        own = model.state_dict()
        return sum(k in own and own[k].shape == v.shape for k, v in source.state_dict().items())
    return len(source.state_dict()) - len(lost(model, source, have, kept))


def lost(model: Model, source: Model, have: Sequence[Layer], kept: Sequence[int | None]) -> list[str]:
    """Names of the source's tensors, apart from those of removed registered modules, that have no place in a model."""
    stock = {f"model.{i}." for i, layer in enumerate(have) if not layer.extra}
    unplaced = [k for k in source.state_dict() if k.startswith(tuple(stock - {f"model.{i}." for i in kept}))]
    own = model.state_dict()
    return unplaced + [k for k, v in view(source, kept).state_dict().items() if k not in own or own[k].shape != v.shape]
