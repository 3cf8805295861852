"""What work tells while it goes on and when it is done, by Ultralytics' log and progress bar."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from ultralytics.utils import LOGGER, TQDM


def result(text: str) -> None:
    """Log a result, which the command line writes to stdout."""
    LOGGER.info(text, extra={"result": True})


def progress(things: Collection[Any], unit: str) -> TQDM:
    """Goes through things with a progress bar, where there is a terminal, that is gone when all is done."""
    return TQDM(things, unit=unit, leave=False, file=sys.stderr, disable=not sys.stderr.isatty())
