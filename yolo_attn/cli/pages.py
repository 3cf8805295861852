"""The help: of all verbs, and of one."""

from __future__ import annotations

import inspect
import re
from shutil import get_terminal_size
from textwrap import fill

from .. import __version__
from .verbs import STOCK, VERBS


def overview() -> str:
    """Every verb with its examples."""
    lines = [f"yolo-attn {__version__}: attention for Ultralytics YOLOv8 as one row of a model YAML.", ""]
    for verb, entry in VERBS.items():
        lines += [*_examples(verb), _wrapped(entry.says, 6)]
    lines += [f"  {STOCK}", _wrapped(f"{ULTRALYTICS} {WHY}", 6), ""]
    return "\n".join([*lines, _wrapped(MORE)])


def examples() -> str:
    """An example of every verb."""
    return "\n".join([*(_examples(verb)[0] for verb in VERBS), f"  {STOCK}", _wrapped(MORE)])


def page(verb: str) -> str:
    """What a verb does, with its arguments and examples."""
    entry = VERBS[verb]
    function = entry.resolve()
    documented = re.split(r"\n\n(?:Returns|Raises):", inspect.getdoc(function) or "")[0]
    usage = " ".join(["yolo-attn", verb, *_usage(verb)])
    parts = [fill(usage, _columns(), subsequent_indent="    ", break_on_hyphens=False), entry.says, documented]
    return "\n\n".join([*parts, "\n".join(["Examples:", *_examples(verb)])])


def _usage(verb: str) -> list[str]:
    """The arguments as they are written, those that may be left out in brackets with what they are then."""
    words = VERBS[verb].words
    written = [words] if words else []
    for name, parameter in inspect.signature(VERBS[verb].resolve()).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            written.append("[NAME=VALUE ...]")
        elif parameter.default is not parameter.empty:
            default = "..." if parameter.default is None else parameter.default
            written.append(f"[{name}={str(default).lower() if isinstance(default, bool) else default}]")
        elif not words or len(written) > 1:
            written.append(f"{name}=...")
    return written


def _examples(verb: str) -> list[str]:
    return [f"  yolo-attn {verb} {example}".rstrip() for example in VERBS[verb].examples]


def _columns() -> int:
    return min(max(get_terminal_size((120, 0)).columns, 60), 120)


def _wrapped(text: str, indent: int = 0) -> str:
    space = " " * indent
    return fill(text, _columns(), initial_indent=space, subsequent_indent=space, break_on_hyphens=False)


ULTRALYTICS = "Any command of `yolo` (train, val, predict, export, ...): handed to Ultralytics with the plugin loaded."
WHY = "After `pip install` plain `yolo` does the same; this one is for places where Python reads no start-up files."
MORE = "`yolo-attn insert -h` and so on explain each argument. verbose=true shows the traceback of an error."
