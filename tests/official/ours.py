"""Our counterparts of official symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..golden import Case


@dataclass(frozen=True)
class Ours:
    """Our counterpart of an official class: how to build it, its parameters' names, how to call it."""

    build: Callable[..., nn.Module]
    names: dict[str, str] = field(default_factory=dict)  # official prefix -> ours
    ignored: Callable[[str, Case], bool] = lambda name, case: False  # official state that our class doesn't need
    call: Callable[..., Any] = lambda module, *inputs: module(*inputs)
    bugs: dict[str, Callable[[Case], bool]] = field(default_factory=dict)  # reason -> whether the case shows the bug
    right: Callable[..., Tensor] | None = None  # the first output where it does: a reference, called like our module
    refuses: Callable[[Case], bool] = lambda case: False  # options that our class doesn't take


class Function(nn.Module):
    """A function without state, as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)
