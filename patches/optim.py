"""Training: the optimizer's groups of what modules declare as no weights, of gates, and of biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..modules import Residual
from ..registry import find, suggest, undecayed
from ._wrap import wrap_when_imported

NAME = "ultralytics.engine.trainer"
GATE_LR_FACTOR = 10.0
LISTS = (nn.ParameterList, nn.ParameterDict)
# As norms are treated. The name counts too: a retry after lack of memory sets the decay of groups by their names.
UNDECAYED = {"weight_decay": 0.0, "use_muon": False, "param_group": "bn"}


def apply() -> None:
    """Extend the trainer, now or once it is imported. Calling it again does nothing."""
    wrap_when_imported(NAME, "BaseTrainer", "build_optimizer", _with_own_groups)


def _with_own_groups(stock: Callable) -> Callable:
    """What is declared as `no_weight_decay` neither decays nor goes to Muon, and gates learn faster. Biases of
    registered modules warm up from zero like everything else: many are coordinates, which the rate of up to 0.1 that
    warm-up begins with for biases would throw out of the map."""

    def build_optimizer(self, model, *args, **kwargs):
        optimizer = stock(self, model, *args, **kwargs)
        registered = [m for m in model.modules() if find(type(m))]
        ours = {id(p) for m in registered for p in m.parameters()}
        gates = {id(m.gamma) for m in registered if isinstance(m, Residual)}
        declared = {each for m in registered for layer in m.modules() for each in _declared(layer)}
        for i, group in enumerate(list(optimizer.param_groups)):
            _move(optimizer, group, gates, **UNDECAYED, lr=group["lr"] * GATE_LR_FACTOR)
            _move(optimizer, group, declared, **UNDECAYED)
            if group.get("param_group", "bias" if i == 0 else "") == "bias":  # the first, where they have no names
                _move(optimizer, group, ours, param_group="bn")
        return optimizer

    return build_optimizer


def _declared(module: nn.Module) -> Iterator[int]:
    """The ids of what a module's class declares as `no_weight_decay`: by its arguments a parameter or several, None or
    a layer."""
    if callable(getattr(type(module), "no_weight_decay", None)):  # timm's, of whole networks: not of own parameters
        return
    for name in undecayed(type(module)):
        if not hasattr(module, name):
            own = [k for k, _ in module.named_parameters(recurse=False)]
            raise ValueError(
                f"{type(module).__name__}: no_weight_decay must name own parameters, got {name!r}."
                f"{suggest(name, own)} Correct the class."
            )
        own = getattr(module, name)
        yield from map(id, own.parameters() if isinstance(own, LISTS) else (own,))


def _move(optimizer: Optimizer, group: dict[str, Any], chosen: set[int], **other: Any) -> None:
    """Put those of a group's parameters whose ids are chosen into the group that differs from theirs in `other` alone,
    a new one if there is none. Settings that this optimizer's groups don't have are left out."""
    if not (moved := [p for p in group["params"] if id(p) in chosen]):
        return
    wanted = {**_settings(group), **{k: v for k, v in other.items() if k in group}}
    group["params"] = [p for p in group["params"] if id(p) not in chosen]
    for each in optimizer.param_groups[1:]:  # the first is that of biases where groups have no names
        if _settings(each) == wanted:
            each["params"] += moved
            return
    optimizer.add_param_group({**wanted, "params": moved})


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k != "params"}
