"""Commands of `yolo`, handed to Ultralytics."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics import cfg
from ultralytics.utils import LOGGER


def words() -> set[str]:
    """Words with which a command of `yolo` can begin, as far as its help tells."""
    told = re.findall(r"^\s+yolo ([a-z][\w-]*)", cfg.CLI_HELP_MSG, re.MULTILINE)
    return {*cfg.TASKS, *cfg.MODES, *told}


def run() -> None:
    """Run the command line as `yolo` does.

    Raises:
        SyntaxError: If there is no such command or argument. Ultralytics' help, which nobody asked for, isn't shown.
    """
    with _help_last():
        cfg.entrypoint()


def show_help(verb: str) -> None:
    """Ultralytics' help for a command."""
    cfg.entrypoint("yolo solutions help" if verb == "solutions" else "yolo help")


def means(error: SyntaxError, word: str) -> bool:
    """Whether Ultralytics says that it doesn't know a word, a command or the name of name=value."""
    return f"{word.lstrip('-').partition('=')[0]!r} is not a valid" in plain(str(error))


def plain(message: str) -> str:
    """A message without colours, and without Ultralytics' help behind it."""
    return re.sub(r"\x1b\[\d*m", "", message.partition(cfg.CLI_HELP_MSG)[0])


@contextmanager
def _help_last() -> Iterator[None]:
    """Ultralytics' help is logged behind the block, and not at all where that raises."""
    held: list[logging.LogRecord] = []

    def hold(record: logging.LogRecord) -> bool:
        if is_help := record.msg == cfg.CLI_HELP_MSG:
            held.append(record)
        return not is_help

    LOGGER.addFilter(hold)
    try:
        yield
    finally:
        LOGGER.removeFilter(hold)
    for record in held:
        LOGGER.handle(record)
