"""Where a command writes: results to stdout, all else to stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from ultralytics.utils import LOGGER


@contextmanager
def to_stderr(results: list[str]) -> Iterator[None]:
    """What is printed, logged or drawn meanwhile goes to stderr; what is logged as a result is added to a list."""

    def keep(record: logging.LogRecord) -> bool:
        if is_result := getattr(record, "result", False):
            results.append(record.getMessage())
        return not is_result

    out = sys.stdout
    handlers = [h for h in LOGGER.handlers if isinstance(h, logging.StreamHandler) and h.stream is out]
    LOGGER.addFilter(keep)
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        LOGGER.removeFilter(keep)
        for handler in handlers:
            handler.setStream(out)


def write(text: str) -> None:
    """Print to stdout. Where nobody reads it any more, as behind `| head`, the command ends with status 1."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        sys.exit(1)
