"""Training: groups of the optimizer for gates and biases, and lines in the log on what is easily overlooked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from ultralytics.utils import LOGGER, RANK

from ..modules import Residual
from ..registry import find
from . import apply as apply_all
from . import host, weights
from ._wrap import watch, wrap

NAME = "ultralytics.engine.trainer"
SUFFIX = {"segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
GATE_LR_FACTOR = 10.0


def apply() -> None:
    """Extend the trainer, now or once it is imported. Calling it again does nothing."""
    trainer = getattr(sys.modules.get(NAME), "BaseTrainer", None)
    if trainer is None:
        watch(NAME, apply_all)
    elif not hasattr(getattr(trainer, "setup_model", None), "__wrapped__"):
        wrap(trainer, "setup_model", _telling)
        wrap(trainer, "build_optimizer", _with_own_groups)


def _telling(stock: Callable) -> Callable:
    def setup_model(self):
        given = self.model
        result = stock(self)
        if isinstance(self.model, nn.Module) and (ours := host.inserted(self.model)):
            path = Path(str(self.args.model or ""))
            sent = isinstance(given, nn.Module) and RANK != -1  # by the process that built it and knows its weights
            if path.suffix in (".yaml", ".yml") and not sent and self.model not in weights.loaded:
                LOGGER.info(_from_scratch(path, self.args.task))
            stand_ins = host.stand_ins(self.model)
            if line := _frozen(self.args.freeze, ours, len(self.model.model), stand_ins):
                LOGGER.info(line)
        return result

    return setup_model


def _from_scratch(path: Path, task: str) -> str:
    stem = re.match(r"yolo(?:e-)?v?\d+[nslmx]", path.stem)
    source = f"{stem[0]}{SUFFIX.get(task, '')}.pt" if stem else "<weights>.pt"
    return f"{path.name} starts from random weights; pretrained={source} starts from pretrained ones."


def _frozen(freeze, ours: dict[int, str], rows: int, stand_ins: Collection[int] = ()) -> str:
    """What `freeze` means with inserted rows, or "" where it means what it did."""
    if not freeze:
        return ""
    frozen = list(range(freeze)) if isinstance(freeze, int) else [i for i in freeze if isinstance(i, int)]
    moving = {i: name for i, name in ours.items() if frozen and i <= max(frozen)}
    if not moving:
        return ""
    same = str(host.stock_layers(frozen, ours, rows, stand_ins)).replace(" ", "")
    listed = ", ".join(f"{i} ({name})" for i, name in moving.items())
    return f"freeze={freeze} counts rows, inserted ones too: {listed}. The stock layers alone are freeze={same}."


def _with_own_groups(stock: Callable) -> Callable:
    """Gates learn faster. Biases of registered modules warm up from zero like everything else: many are coordinates,
    which the rate of up to 0.1 that warm-up begins with for biases would throw out of the map."""

    def build_optimizer(self, model, *args, **kwargs):
        optimizer = stock(self, model, *args, **kwargs)
        registered = [m for m in model.modules() if find(type(m))]
        ours = {id(p) for m in registered for p in m.parameters()}
        gates = {id(m.gamma) for m in registered if isinstance(m, Residual)}
        for i, group in enumerate(list(optimizer.param_groups)):
            _move(optimizer, group, gates, lr=group["lr"] * GATE_LR_FACTOR, weight_decay=0.0)
            if group.get("param_group", "bias" if i == 0 else "") == "bias":  # the first, where they have no names
                _move(optimizer, group, ours, param_group="bn")
        return optimizer

    return build_optimizer


def _move(optimizer: Optimizer, group: dict[str, Any], chosen: set[int], **other: Any) -> None:
    """Give those of a group's parameters whose ids are chosen a group of their own, which differs in `other`."""
    if moved := [p for p in group["params"] if id(p) in chosen]:
        group["params"] = [p for p in group["params"] if id(p) not in chosen]
        optimizer.add_param_group({**group, "params": moved, **other})
