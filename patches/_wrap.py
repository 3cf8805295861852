"""Put wrappers in the place of stock functions, when they are there, and take them back."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

try:
    from _yolo_attn_autoload import watch  # the one that Python has started
except ModuleNotFoundError:  # a checkout that isn't installed
    from .autoload._yolo_attn_autoload import watch

__all__ = ["undo", "watch", "wrap"]
_replaced: list[tuple[Any, str, Callable]] = []


def wrap(owner: Any, name: str, make: Callable[[Callable], Callable], everywhere: bool = False) -> None:
    """Replace owner.name by make(stock).

    Args:
        owner: The module or class in which the function is looked up when it is called.
        name: The function's name.
        make: Takes the stock function and returns its replacement.
        everywhere: Also replace it where other modules of Ultralytics have imported it by name, as they have when the
            plugin is imported late, in a notebook.

    Raises:
        AttributeError: If there is no such function.
    """
    stock = getattr(owner, name, None)
    if stock is None:
        raise AttributeError(f"{owner.__name__} has no {name}")
    wrapped = functools.wraps(stock)(make(stock))
    owners = [owner]
    if everywhere:
        loaded = [m for key, m in sys.modules.items() if key.partition(".")[0] == "ultralytics" and m is not owner]
        owners += [m for m in loaded if vars(m).get(name) is stock]
    for each in owners:
        setattr(each, name, wrapped)
        _replaced.append((each, name, stock))


def undo() -> None:
    """Put all stock functions back."""
    while _replaced:
        owner, name, stock = _replaced.pop()
        setattr(owner, name, stock)
