"""Put a wrapper in the place of a stock function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType


def wrap(module: ModuleType, name: str, make: Callable[[Callable], Callable], everywhere: bool = False) -> None:
    """Replace module.name by make(stock).

    Args:
        module: Where the function is looked up when it is called.
        name: The function's name.
        make: Takes the stock function and returns its replacement.
        everywhere: Also replace it where other modules of Ultralytics have imported it by name, as they have when the
            plugin is imported late, in a notebook.
    """
    stock = getattr(module, name)
    wrapped = functools.wraps(stock)(make(stock))
    setattr(module, name, wrapped)
    if everywhere:
        for loaded in [m for key, m in sys.modules.items() if key.partition(".")[0] == "ultralytics"]:
            if vars(loaded).get(name) is stock:
                setattr(loaded, name, wrapped)
