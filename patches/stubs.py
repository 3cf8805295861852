"""Stand-ins for what a pickle names, and the plain data that is behind them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

DEEPEST = 50  # levels of lists and mappings; a model has five or six
MOST = 10**6  # values that a model may have; the largest of Ultralytics has some 10**5
NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "u1": "B", "b1": "?"}  # of NumPy, in a pickle
MISSING = object()  # for what is no plain data


class Stub:
    """What stands for an object: the arguments that it would have been made with, and its state.

    Attributes:
        args: Positional arguments.
        state: What the object's attributes were, a dictionary as a rule.
    """

    args: tuple = ()
    state: Any = None

    def __new__(cls, *args: Any, **_: Any) -> Stub:
        stub = object.__new__(cls)
        stub.args = args
        return stub

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:  # of dictionaries of a class of their own
        pass


def budget() -> Iterator[int]:
    """Counts down while a checkpoint is read: lists or layers that hold the same one twice, which does so too, would
    fill the memory out of a file of a few kilobytes."""
    yield from range(MOST)
    raise ValueError(f"it holds more than {MOST} values and layers: it is no model.")


def plain(value: Any, left: Iterator[int], depth: int = 0) -> Any:
    """A value without stand-ins: paths as texts, namespaces as dictionaries; MISSING for what is no plain data."""
    next(left)
    if value is None or isinstance(value, (bool, int, float, str, Tensor)):
        return value
    if depth > DEEPEST:
        return MISSING
    if isinstance(value, Mapping):
        pairs = ((key, plain(inner, left, depth + 1)) for key, inner in value.items())
        return {key: inner for key, inner in pairs if inner is not MISSING}
    if isinstance(value, (list, tuple, set, frozenset)):
        kept = [inner for each in value if (inner := plain(each, left, depth + 1)) is not MISSING]
        return tuple(kept) if isinstance(value, tuple) else kept
    if isinstance(value, Stub):
        if type(value).__module__ == "pathlib":
            return os.path.join(*map(str, value.args)) if value.args else ""
        if type(value).__qualname__ == "scalar" and len(value.args) == 2:
            return _number(*value.args)
        if type(value).__qualname__.endswith("Namespace"):
            return plain(mapping(value.state), left, depth + 1)
    return MISSING


def _number(dtype: Any, content: Any) -> Any:
    """A number that NumPy has pickled."""
    code = NUMBERS.get(str(dtype.args[0])) if isinstance(dtype, Stub) and dtype.args else None
    if code is None or not isinstance(content, bytes) or len(content) != struct.calcsize(f"<{code}"):
        return MISSING
    return struct.unpack(f"<{code}", content)[0]


def mapping(value: Any) -> Mapping:
    """The value if it is a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}
