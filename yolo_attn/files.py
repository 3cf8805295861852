"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside a file, of its ending, for what is to be there when the block ends, in the place of that file."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text, with the line ends of this system."""
    replace_bytes(path, text.replace("\n", os.linesep).encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    with whole(path) as temporary:
        temporary.write_bytes(content)
