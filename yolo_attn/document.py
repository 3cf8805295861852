"""The text of a model YAML: rows are changed, and every other byte, comments too, stays. Needs ruamel.yaml.

Where a comment behind a row begins with the row's number, the number follows the row.
"""

from __future__ import annotations

import copy
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .graph import Model, rows

PARTS = ("backbone", "head")
Row = Sequence[Any]
Edit = tuple[int, int, str]  # start, end, replacement


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
        ValueError: If a row that is changed or gets a neighbour is not written as [from, repeats, module, arguments].
    """
    before = {part: list(model[part]) for part in PARTS}
    values = {id(row): copy.deepcopy(row) for part in PARTS for row in before[part]}
    numbers = {id(row): i for i, row in enumerate(rows(model))}
    change(model)
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
                edits.append((at, at, f"{text[start : anchor.start_mark.index]}{flow(row)}\n"))
    if first_scale:
        edits += _moved_first(text, root["scales"], first_scale)
    for _, (start, end, new) in sorted(enumerate(edits), key=lambda e: (e[1][:2], e[0]), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    writer, out = YAML(typ="safe"), io.StringIO()
    writer.default_flow_style, writer.width = True, 1 << 20
    writer.dump([value], out)  # in a list, where text with a comma must be quoted
    return out.getvalue().strip()[1:-1]


def dump(model: Model) -> str:
    """A model as the text of a YAML, one row on a line."""
    parts = []
    for key, value in model.items():
        if key in PARTS:
            parts.append(f"\n{key}:\n" + "".join(f"  - {flow(row)}\n" for row in value))
        elif key == "scales":
            parts.append(f"{key}:\n" + "".join(f"  {name}: {flow(values)}\n" for name, values in value.items()))
        elif key not in ("scale", "yaml_file"):  # what Ultralytics adds when it reads a file
            parts.append(f"{key}: {flow(value)}\n")
    return "".join(parts)


def write(path: str | Path, text: str) -> None:
    """Write a new file, whole or not at all.

    Raises:
        FileExistsError: If there is a file of that name.
    """
    path = Path(path)
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Raise FileExistsError if there is a file of that name."""
    if path.exists():
        raise FileExistsError(f"out: {path} exists. Remove it, or choose another name.")


def _line(text: str, node: Any) -> tuple[int, int]:
    """Where the lines of a row begin and end."""
    if node.flow_style is False:
        row = text[node.start_mark.index : node.end_mark.index].strip().partition("\n")[0]
        raise ValueError(
            f"line {node.start_mark.line + 1}: write the row as [from, repeats, module, arguments], not {row!r}."
        )
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
