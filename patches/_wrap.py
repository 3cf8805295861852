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


def wrap_when_imported(module: str, owner: str, name: str, make: Callable[[Callable], Callable]) -> None:
    """Replace a method of a class once, now, or when its module is imported, which applies all patches again.

    Args:
        module: Name of the module, which need not be imported.
        owner: Name of the class in it.
        name: The method's name.
        make: As for `wrap`.

    Raises:
        AttributeError: If the class has no such method.
    """
    from . import apply  # which imports this file

    cls = getattr(sys.modules.get(module), owner, None)
    if cls is None:
        watch(module, apply)
    elif not hasattr(getattr(cls, name, None), "__wrapped__"):
        wrap(cls, name, make)


def undo() -> None:
    """Put all stock functions back."""
    while _replaced:
        owner, name, stock = _replaced.pop()
        setattr(owner, name, stock)
