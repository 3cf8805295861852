"""Workers of multi-GPU training know the modules, also where nothing is installed (a checkout, pip --target)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ultralytics.utils import dist

from .. import __file__ as package_file
from ._wrap import wrap

ROOT = str(Path(package_file).parents[1])  # the folder that `import yolo_attn` needs on sys.path


def apply() -> None:
    """Extend the script that Ultralytics writes for its workers."""
    wrap(dist, "generate_ddp_file", _importing)


def _importing(stock: Callable) -> Callable:
    def generate_ddp_file(trainer):
        file = Path(stock(trainer))
        line = f"import sys; sys.path.append({ROOT!r}); import yolo_attn\n"
        file.write_text(line + file.read_text(encoding="utf-8"), encoding="utf-8")
        return str(file)

    return generate_ddp_file
