"""The text of a model YAML: rows are changed, and every other byte, comments too, stays. Needs ruamel.yaml, for places
in a text, and PyYAML, which Ultralytics reads with.

Where a comment behind a row begins with the row's number, the number follows the row.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from .files import replace_bytes
from .graph import Model, rows

PARTS = ("backbone", "head")
READ = ("scale", "yaml_file")  # what Ultralytics adds when it reads a file
Row = Sequence[Any]
Edit = tuple[int, int, str]  # start, end, replacement


class NotInPlace(ValueError):
    """A text is written in a way that can't be changed in place."""


def edited(text: str, model: Model, change: Callable[[Model], object], first_scale: str = "") -> str:
    """Change a model, and its text with it.

    Args:
        text: The YAML that `model` was read from.
        model: The model, which is changed.
        change: Changes a model in place by means of `graph`.
        first_scale: Scale to be moved to the front of `scales`, where Ultralytics looks for a default, or "".

    Returns:
        The changed text.

    Raises:
        NotInPlace: If the text can't be changed without writing it anew.
    """
    before = {part: list(model[part]) for part in PARTS}
    values = {id(row): copy.deepcopy(row) for part in PARTS for row in before[part]}
    numbers = {id(row): i for i, row in enumerate(rows(model))}
    change(model)
    try:
        text = _applied(text, _edits(text, model, before, values, numbers, first_scale))
    except (AttributeError, KeyError, StopIteration, ValueError) as error:  # nodes that are no lists of rows
        raise NotInPlace(f"{error}") from error
    if not says(text, model, first_scale):
        raise NotInPlace("its rows or scales are not written one on a line.")
    return text


def _edits(
    text: str,
    model: Model,
    before: dict[str, list[Row]],
    values: dict[int, Row],
    numbers: dict[int, int],
    first_scale: str,
) -> list[Edit]:
    """What has to be replaced in the text: rows before, their old values and numbers by identity, and rows now."""
    newline = "\r\n" if "\r\n" in text else "\n"
    numbers_now = {id(row): i for i, row in enumerate(rows(model))}
    root = {key.value: value for key, value in YAML(typ="rt").compose(text).value}
    edits: list[Edit] = []
    for part in PARTS:
        nodes = {id(row): node for row, node in zip(before[part], root[part].value, strict=True)}
        for key, node in nodes.items():
            if key not in numbers_now:
                edits.append((*_line(text, node), ""))
        anchor, behind = root[part].value[0], False
        for row in model[part]:
            if id(row) in nodes:
                anchor, behind = nodes[id(row)], True
                edits += _changed(text, anchor, values[id(row)], row)
                edits += _renumbered(text, anchor, numbers[id(row)], numbers_now[id(row)])
            else:
                start, end = _line(text, anchor)
                at = end if behind else start
                edits.append((at, at, f"{text[start : anchor.start_mark.index]}{flow(row)}{newline}"))
    return edits + (_moved_first(text, root["scales"], first_scale) if first_scale else [])


def _applied(text: str, edits: list[Edit]) -> str:
    """The text after all edits; of several at one place the first comes first."""
    for _, (start, end, new) in sorted(enumerate(edits), key=lambda e: (e[1][:2], e[0]), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def says(text: str, model: Model, first_scale: str = "") -> bool:
    """Whether Ultralytics would read this model, and this scale by default, from a text."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    want = {key: value for key, value in model.items() if key not in READ}
    return read == want and (not first_scale or next(iter(read["scales"])) == first_scale)


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    text = yaml.safe_dump([value], default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.strip()[1:-1]  # of a list, where text with a comma is quoted


def dump(model: Model) -> str:
    """A model as the text of a YAML, one row on a line, its scale first among the scales."""
    parts = []
    for key, value in model.items():
        if key in PARTS:
            parts.append(f"\n{key}:\n" + "".join(f"  - {flow(row)}\n" for row in value))
        elif key == "scales":
            order = sorted(value, key=lambda name: name != model.get("scale"))
            parts.append(f"{key}:\n" + "".join(f"  {name}: {flow(value[name])}\n" for name in order))
        elif key not in READ:
            parts.append(f"{key}: {flow(value)}\n")
    return "".join(parts)


def read(path: Path) -> str:
    """The text of a file, its line ends as they are."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a model YAML must be text in UTF-8: {error}. Save it so.") from error


def write(path: str | Path, text: str) -> None:
    """Write a new file, whole or not at all.

    Raises:
        FileExistsError: If there is a file of that name.
    """
    path = Path(path)
    refuse_existing(path)
    replace_bytes(path, text.encode("utf-8"))


def refuse_existing(path: Path) -> None:
    """Raise an OSError if there is a file of that name, or no folder for it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out: there is no folder {path.parent}. Make it first.")
    if path.exists():
        raise FileExistsError(f"out: {path} exists. Remove it, or choose another name.")


def _line(text: str, node: Any) -> tuple[int, int]:
    """Where the lines of a row begin and end."""
    if node.flow_style is False:
        row = text[node.start_mark.index : node.end_mark.index].strip().partition("\n")[0]
        raise ValueError(f"line {node.start_mark.line + 1} is not written as [...]: {row!r}.")
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    end = text.find("\n", node.end_mark.index)
    return start, len(text) if end < 0 else end + 1


def _changed(text: str, node: Any, old: Row, new: Row) -> list[Edit]:
    """Edits for the values of a row that are not what they were."""
    if list(old) == list(new):
        return []
    _line(text, node)
    pairs = zip(node.value, old, new, strict=True)
    return [(part.start_mark.index, part.end_mark.index, flow(now)) for part, was, now in pairs if was != now]


def _renumbered(text: str, node: Any, old: int, new: int) -> list[Edit]:
    """Edits for the number that a comment behind a row begins with."""
    end = text.find("\n", node.end_mark.index)
    found = re.compile(r"[ \t]*#[ \t]*(\d+)\b").match(text, node.end_mark.index, end if end >= 0 else len(text))
    return [(*found.span(1), str(new))] if found and int(found[1]) == old != new else []


def _moved_first(text: str, scales: Any, name: str) -> list[Edit]:
    """Edits that move the line of a scale in front of the others."""
    keys = [key for key, _ in scales.value]
    chosen = next(key for key in keys if key.value == name)
    start, end = _line(text, next(value for key, value in scales.value if key is chosen))
    first = text.rfind("\n", 0, keys[0].start_mark.index) + 1
    return [] if chosen is keys[0] else [(start, end, ""), (first, first, text[start:end])]
