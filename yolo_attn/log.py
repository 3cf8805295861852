"""What work tells while it goes on and when it is done, by Ultralytics' log and progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from ultralytics.utils import LOGGER, TQDM


def result(text: str) -> None:
    """Log a result, which the command line writes to stdout."""
    LOGGER.info(text, extra={"result": True})


def progress(things: Collection[Any] | None, what: str, unit: str = "it") -> TQDM:
    """Goes through things with a progress bar, where there is a terminal, that is gone when all is done; for None its
    `update` counts them."""
    return TQDM(things, what, unit=unit, leave=False, file=sys.stderr, disable=not sys.stderr.isatty(), mininterval=0)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Says meanwhile what is done, in the same way."""
    bar = progress((what,), what)

    def aside(record: logging.LogRecord) -> bool:
        bar.clear()
        return True

    LOGGER.addFilter(aside)
    try:
        yield
    finally:
        LOGGER.removeFilter(aside)
        bar.close()
