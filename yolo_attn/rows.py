"""What a YAML row of a registered module means: checked arguments and output channels. Standard library only."""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .registry import Spec, get, suggest

MOST = 1_000_000  # values and characters of a model; one of 10,000 rows has some 300,000
DEEPEST = 50  # levels of lists and mappings; a model has five or six


def check_row(row: Any) -> None:
    """Raise ValueError for what is no row of a model at all."""
    refuse_endless("a row", row)
    if not isinstance(row, (list, tuple)) or len(row) != 4 or not isinstance(row[2], str):
        raise ValueError(f"a row must be [from, repeats, module, arguments], got {row!r}.")


def refuse_endless(what: str, value: Any) -> None:
    """Raise ValueError for a value that couldn't be printed or compared, such as one that a YAML's anchors put into
    itself, or the same one into another a billion times."""
    left, level = MOST, [value]
    for _ in range(DEEPEST):
        level = [each for each in level if isinstance(each, (str, list, tuple, Mapping))]
        left -= sum(map(len, level))
        if left < 0:
            break
        level = [
            inner
            for each in level
            if not isinstance(each, str)
            for inner in ([*each.keys(), *each.values()] if isinstance(each, Mapping) else each)
        ]
        if not level:
            return
    raise ValueError(
        f"{what} must hold at most {MOST} values and characters, in {DEEPEST} levels. See to its brackets and anchors."
    )


def build_arguments(
    spec: Spec, inputs: int | Sequence[int], n: int, args: Sequence[Any], scale: Callable[[int], int]
) -> tuple[int, int, list[Any]]:
    """Turn a row into constructor arguments.

    Args:
        spec: The module that the row names.
        inputs: Width of the row's input, or a list of widths where `from` is a list.
        n: Depth-scaled number of repeats.
        args: The row's arguments; the last one may be a mapping of keyword arguments.
        scale: Scales a width from the YAML to the model's scale.

    Returns:
        Output channels, the number of times that the module is stacked, and the constructor's positional arguments.

    Raises:
        ValueError: If the number of inputs or repeats does not suit the module.
        TypeError: If arguments are too many, too few, misspelt or given twice.
    """
    if spec.channels == "wrap":
        return _build_wrapped(spec, inputs, n, args, scale)
    parameters = list(spec.parameters)
    _check_inputs(spec, inputs)
    if spec.channels == "fuse":
        given: dict[str, Any] = {"in_channels": list(inputs)}  # type: ignore[arg-type]
        width = parameters[0]
    else:
        given = {parameters[0]: inputs}
        width = parameters[1] if spec.channels == "out" else ""
    if spec.repeats:
        given[parameters[2 if spec.channels == "out" else 1]], n = n, 1
    given |= assign(spec, args, taken=given)
    if width and width in given:
        c2 = given[width]
        if isinstance(c2, bool) or not isinstance(c2, int) or c2 < 1:
            raise ValueError(f"{spec.name}: {width} must be a positive integer, got {c2!r}. Give a number of channels.")
        given[width] = scale(c2)
    elif width:
        given[width] = inputs[0]  # type: ignore[index]
    c2 = given[width] if width else inputs
    if callable(spec.channels):
        c2 = spec.channels(*(given.get(name, p.default) for name, p in spec.parameters.items()))
        if not isinstance(c2, int) or c2 < 1:
            raise ValueError(f"{spec.name}: its channel rule must give a positive integer, got {c2!r}. Mend the rule.")
    if n > 1 and c2 != inputs:
        raise ValueError(f"{spec.name}: repeats must be 1 where the channels change, got {n}. Set it to 1.")
    return c2, n, _positional(spec, given)


def _build_wrapped(
    spec: Spec, inputs: int | Sequence[int], n: int, args: Sequence[Any], scale: Callable[[int], int]
) -> tuple[int, int, list[Any]]:
    """A row whose arguments are the row of another module; of several inputs the first is passed by, the rest fused."""
    inner = wrapped(spec, args, load=False)
    c1, inner_inputs = (inputs, inputs) if isinstance(inputs, int) else (inputs[0], inputs[1:])
    c2, n, inner_args = build_arguments(inner, inner_inputs, n, args[1:], scale)
    if c2 != c1 and inner.channels != "fuse":
        raise ValueError(
            f"{spec.name}: {inner.name} must keep the channels, got {c1} in and {c2} out. Use another module."
        )
    return c1, n, [c1, args[0], inner_args]


def renamed(args: Sequence[Any], before: Sequence[str], after: Sequence[str]) -> list[Any]:
    """The positional arguments of a row for another module, by name; what that one doesn't have is left out.

    Args:
        args: The row's arguments; the last one may be a mapping.
        before: Names of the parameters that a row of the first module may pass.
        after: The same of the second module.

    Returns:
        Positional arguments as far as they go, and a mapping of the rest if there is one.
    """
    keywords: dict[str, Any] = {}
    if args and isinstance(args[-1], Mapping):
        *args, last = args
        keywords = dict(last)
    given = dict(zip(before, args, strict=False)) | keywords
    kept = {name: value for name, value in given.items() if name in after}
    first = [*itertools.takewhile(kept.__contains__, after)]
    rest = {name: value for name, value in kept.items() if name not in first}
    return [kept[name] for name in first] + ([rest] if rest else [])


def wrapped(spec: Spec, args: Sequence[Any], load: bool = True) -> Spec:
    """The module inside a row of a wrapping module; `load` as for `get`."""
    if not args or not isinstance(args[0], str):
        raise TypeError(
            f"{spec.name}: the first argument must name a module, got {list(args)!r}. Write [{spec.name}, [SE]]."
        )
    return get(args[0], load)


def assign(spec: Spec, args: Sequence[Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a row by parameter name, checked against the constructor without those in `taken`."""
    free = {name: p for name, p in spec.parameters.items() if name not in taken}
    keywords: Mapping[str, Any] = {}
    if args and isinstance(args[-1], Mapping):
        *args, keywords = args
    usage = f"{spec.name} takes ({', '.join(p.name + _default(p) for p in free.values())})."
    if len(args) > len(free):
        raise TypeError(f"{spec.name}: got {len(args)} arguments, at most {len(free)} are possible. {usage}")
    given = dict(zip(free, args, strict=False))
    for key, value in keywords.items():
        if spec.rest and key not in free and isinstance(key, str):
            given[spec.rest] = {**(given.get(spec.rest) or {}), key: literal(value)}
            continue
        if key not in free:
            raise TypeError(f"{spec.name}: there is no argument {key!r}.{suggest(str(key), free)} {usage}")
        if key in given:
            raise TypeError(f"{spec.name}: {key} is given twice, as {given[key]!r} and as {value!r}. {usage}")
        given[key] = literal(value)
    optional = {next(iter(free), "")} if spec.channels == "fuse" else set()  # c2 follows from the first input
    if missing := [k for k, p in free.items() if p.default is p.empty and k not in given and k not in optional]:
        raise TypeError(f"{spec.name}: {', '.join(missing)} must be given. {usage}")
    return given


def _check_inputs(spec: Spec, inputs: int | Sequence[int]) -> None:
    if spec.channels == "fuse" and (isinstance(inputs, int) or len(inputs) < 2):
        raise ValueError(
            f"{spec.name} fuses several inputs, got one. Write `from` as a list, [[-1, 6], 1, {spec.name}, [...]]."
        )
    if spec.channels != "fuse" and not isinstance(inputs, int):
        raise ValueError(
            f"{spec.name} takes one input, got a list of {len(inputs)}. Write `from` as one index, such as -1."
        )


def _positional(spec: Spec, given: Mapping[str, Any]) -> list[Any]:
    """Values in the constructor's order, up to the last one that is given."""
    last = max(i for i, name in enumerate(spec.parameters) if name in given)
    return [given.get(name, p.default) for name, p in list(spec.parameters.items())[: last + 1]]


def _default(parameter) -> str:
    return "" if parameter.default is parameter.empty else f"={parameter.default!r}"


def literal(value: Any) -> Any:
    """Ultralytics reads text such as "None" in a row as Python; the same holds inside a mapping."""
    if isinstance(value, str):
        with contextlib.suppress(MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
            return ast.literal_eval(value)
    return value
