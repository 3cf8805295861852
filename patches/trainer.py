"""Training: lines in the log on what is easily overlooked."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from torch import nn
from ultralytics.utils import LOGGER, RANK

from . import host, weights
from ._wrap import wrap_when_imported

NAME = "ultralytics.engine.trainer"
SUFFIX = {"segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}


def apply() -> None:
    """Extend the trainer, now or once it is imported. Calling it again does nothing."""
    wrap_when_imported(NAME, "BaseTrainer", "setup_model", _telling)


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
