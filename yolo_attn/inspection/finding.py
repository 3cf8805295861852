"""What a check found, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from shutil import get_terminal_size
from textwrap import shorten, wrap

from ..patches import host

LENGTH = 300  # of a message; some of PyTorch's go on for pages
PLAIN = (ValueError, TypeError, ImportError)  # whose messages are sentences, ours with what to do at the end
HINTS = {
    r"Sizes of tensors must match|must match the size of tensor|same height and width": (
        "Maps of different sizes meet here: check `from`, or put an nn.Upsample or a stride-2 Conv before one of them."
    ),
    r"to have \d+ channels, but got \d+ channels|shapes cannot be multiplied|normalized_shape": (
        "Its input has another width than the row says, at this scale or of this `from`. A registered module takes the "
        "width from its input."
    ),
    r"more than 1 (value per channel|spatial element)": (
        "A norm sees one value there: take a GroupNorm behind a global pooling, or none. For a map of one pixel take a "
        "larger imgsz."
    ),
    r"divisible": "Choose a number that divides the channels at this scale.",
    r"out of memory|can't allocate memory|not enough memory": "Take a smaller batch, imgsz or model.",
    r"same dtype|scalar type|should be the same|Half|BFloat16": (
        "Let the module compute in one type: what it makes itself in that of its input, or all in float32, and return "
        "x.dtype."
    ),
    r"list index out of range": "`from` names something that isn't there, or arguments are missing. Correct the row.",
    r"'int' object is not iterable": "Write `from` as a list, such as [15, 18, 21], if the module takes several maps.",
    r"there is no module named": "Correct the name: `yolo-attn list` lists those of this package.",
}


@dataclass(frozen=True)
class Finding:
    """One result of `yolo_attn.preflight`.

    Attributes:
        level: "ok", "warning", or "error" where training, validation or the given export would fail, or where a row of
            the model does nothing.
        where: The row, such as "row 10 (DAttention)", or "".
        what: What was found.
        do: What to do about it; "" where all is well.
        check: Name of the check.
    """

    level: str
    where: str
    what: str
    do: str
    check: str = ""


def ok(what: str) -> Finding:
    return Finding("ok", "", what, "")


def warning(what: str, do: str, where: str = "") -> Finding:
    return Finding("warning", where, what, do)


def error(what: str, do: str, where: str = "") -> Finding:
    return Finding("error", where, what, do)


def explained(failure: BaseException, names: Sequence[str], otherwise: str) -> Finding:
    """An exception as a finding.

    Args:
        failure: What was raised by reading, building or running a model.
        names: The modules of the model's rows.
        otherwise: What to do where neither the message nor its kind tells.
    """
    message = " ".join(str(failure).split())
    if said := re.match(r"(?:.*?, )?row (\d+)(?: \([^)]*\))?: (.*)", message):
        message = said[2]
    number = int(said[1]) if said else host.failed_at(failure)
    where = row(number, names) if number is not None and number < len(names) else ""
    do = next((hint for pattern, hint in HINTS.items() if re.search(pattern, message)), "")
    if isinstance(failure, PLAIN) and (parts := re.match(r"(.+?\S)\. ([A-Z].*[.?])$", message)):
        message, do = parts.groups()
    elif not isinstance(failure, (*PLAIN, RuntimeError, OSError)):
        message = f"{type(failure).__name__}: {message}"
    return error(shorten(message.rstrip("."), LENGTH), do or otherwise, where)


def row(number: int, names: Sequence[str]) -> str:
    """A row as findings name it."""
    return f"row {number} ({names[number]})" if names[number] else f"row {number}"


def text(findings: Iterable[Finding]) -> str:
    """Findings as lines for a terminal, with a verdict."""
    findings = list(findings)
    margin = max(len(f.check) for f in findings) + 11
    columns = max(get_terminal_size((120, 0)).columns, margin + 40)
    lines: list[str] = []
    for _, alike in groupby(findings, lambda f: (f.level, f.check, f.what, f.do)):
        f, *more = alike
        start = f"{f.level:<7}  {f.check}".ljust(margin)
        between = "" if not more else " and " if len(more) == 1 else f" and {len(more)} more, to "
        where = f"{f.where}{between}{more[-1].where if more else ''}"
        what = f"{where}: {f.what}" if where else f.what
        lines += wrap(what, columns, initial_indent=start, subsequent_indent=" " * margin)
        lines += wrap(f.do, columns, initial_indent=" " * margin + "-> ", subsequent_indent=" " * (margin + 3))
    errors, warnings = (sum(f.level == level for f in findings) for level in ("error", "warning"))
    said = " and ".join(f"{n} {what}{'s' * (n > 1)}" for n, what in ((errors, "error"), (warnings, "warning")) if n)
    verdict = "Mend what is marked as an error before you train." if errors else "Ready to train."
    return "\n".join([*lines, f"{said or 'No errors'}. {verdict}"])
