"""What a migration did, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any

LEVELS = ("changed", "kept", "doubt", "lost")


@dataclass(frozen=True)
class Finding:
    """One thing that was done to a row, or that is to be known of it.

    Attributes:
        level: "changed": the row was rewritten. "kept": its weights were. "doubt": what can't be known from the file.
            "lost": what could not be kept.
        row: Number of the row; -1 for the whole file.
        name: The module of the row, as it was.
        what: What was done, or is to be known.
    """

    level: str
    row: int
    name: str
    what: str


@dataclass(frozen=True)
class Migration:
    """What `yolo_attn.migrate` gives.

    Attributes:
        out: The new file, None where none was needed.
        model: The model dictionary, as Ultralytics would read it from the new file.
        findings: What was done, and what is to be known, by row.
    """

    out: Path | None
    model: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return text(self)


def grouped(rows: Sequence[int]) -> str:
    """Numbers of rows as text: row 4, or rows 2, 4 and 6."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    return f"rows {', '.join(map(str, rows[:-1]))} and {rows[-1]}"


def shortened(names: Sequence[str], most: int) -> str:
    """The first names as text, with an ellipsis for more."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])


def text(migration: Migration) -> str:
    """A migration as lines for a terminal: what holds for several rows is said once."""
    said: dict[tuple[str, str, str], list[int]] = {}
    for finding in migration.findings:
        said.setdefault((finding.level, finding.name, finding.what), []).append(finding.row)
    columns = max(get_terminal_size((120, 0)).columns, 60)
    lines: list[str] = []
    for (level, name, what), rows in said.items():
        where = "" if rows == [-1] else f"{grouped(rows)} ({name}): "
        lines += wrap(f"{level:<7}  {where}{what}", columns, subsequent_indent=" " * 9)
    return "\n".join([*lines, verdict(migration.out, migration.findings)])


def verdict(out: Path | None, findings: Iterable[Finding]) -> str:
    """The last line."""
    if out is None:
        return "Nothing was written: the file can be used as it is."
    levels = [finding.level for finding in findings]
    if "lost" in levels:
        return f"wrote {out}. Train it before you use it: not all could be kept."
    doubtful = out.suffix == ".pt" and "doubt" in levels
    return f"wrote {out}." + (" Compare `yolo val` of both before you rely on it." if doubtful else "")
