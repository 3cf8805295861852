"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a text, with the line ends of this system."""
    replace_bytes(path, text.replace("\n", os.linesep).encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
