"""Arguments of a command line, name=value, as those of a function."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ultralytics.cfg import DEFAULT_CFG_DICT, merge_equals_args, parse_key_value_pair

from ..registry import suggest


def parsed(
    function: Callable, arguments: Sequence[str], words: bool = False, example: str = ""
) -> tuple[list[str], dict[str, Any]]:
    """What a command line gives a function, by position and by name.

    Args:
        function: The function, whose signature tells which arguments there are, and whose annotations, what values
            are: text where it takes text and no number, a list of a,b where it takes sequences, else YAML.
        arguments: name=value, also name = value.
        words: Whether it takes words without a name: for its *arguments, or else one for its first argument.
        example: Arguments that are shown where some are missing.

    Raises:
        ValueError: If a name is unknown, given twice or missing, or a value is.
        SyntaxError, YAMLError: If a value has brackets that don't match.
    """
    merged = merge_equals_args(list(arguments))
    bare = [a for a in merged if "=" not in a or Path(a).exists()] if words else []
    named = [a for a in merged if a not in bare]
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if bare and first is not None and first.kind is not first.VAR_POSITIONAL:
        bare, named = [], [f"{first.name}={bare[0]}", *bare[1:], *named]
    return bare, keywords(function, named, example)


def keywords(function: Callable, arguments: Sequence[str], example: str = "") -> dict[str, Any]:
    """The arguments that have a name. Where a function takes any, as `compare` does those of `yolo train`, they must be
    arguments of Ultralytics, and are read as it reads them."""
    parameters = inspect.signature(function).parameters
    named = {k: p for k, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kinds = {name: _members(hint) for name, hint in _hints(function).items()}
    given: dict[str, Any] = {}
    for argument in merge_equals_args(list(arguments)):
        name, equals, text = argument.partition("=")
        if name not in named and not (equals and is_open and name in DEFAULT_CFG_DICT):
            raise ValueError(_unknown(argument, name, named, is_open, given))
        if name in given:
            raise ValueError(f"{name} is given twice. Write it once.")
        if not text:
            raise ValueError(f"{name} has no value. Write one behind {name}=, or leave it out.")
        given[name] = _value(text, kinds.get(name, set())) if name in named else parse_key_value_pair(argument)[1]
    if missing := [k for k, p in named.items() if p.default is p.empty and k not in given]:
        raise ValueError(f"{', '.join(missing)} must be given, such as {example}.")
    return given


def _unknown(argument: str, name: str, named: Mapping[str, Any], is_open: bool, given: Mapping[str, Any]) -> str:
    if not named and not is_open:
        return f"{argument} is one too many: it takes no name=value. Leave it out."
    if "." in argument and "=" not in argument:  # a file
        free = next((each for each in named if each not in given), name)
        return f"{argument!r} has no name. Write {free}={argument}, say: it takes {', '.join(named)}."
    near = suggest(name.lstrip("-"), [*named, *(DEFAULT_CFG_DICT if is_open else ())])
    more = " or an argument of Ultralytics" if is_open else ""
    return f"there is no argument {argument!r}.{near} Write {', '.join(named)}{more}."


def _value(text: str, kinds: set[Any]) -> Any:
    """A value for a parameter that takes these kinds."""
    is_text = str in kinds and not {int, float} & kinds
    structured = bool({Sequence, Mapping, list, dict, tuple} & kinds)
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        if is_text and not structured:
            return text
        raise
    if is_text and not isinstance(value, (bool, type(None), *((list, dict) if structured else ()))):
        value = text  # not a number or a date
    if not isinstance(value, str) or "," not in value or not {Sequence, list, tuple} & kinds:
        return value
    return [part.strip() if is_text else YAML(typ="safe").load(part) for part in value.split(",")]


def _hints(function: Callable) -> dict[str, Any]:
    """The annotations of a function. A class that only type checkers import is no value of a command line."""
    unknown: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(function, localns=unknown)
        except NameError as error:
            unknown[str(error.name)] = object


def _members(hint: Any) -> set[Any]:
    """The classes of a union, generic ones as such: of str | Sequence[int] str and Sequence."""
    if get_origin(hint) in (Union, types.UnionType):
        return set().union(*map(_members, get_args(hint)))
    return {get_origin(hint) or hint}
