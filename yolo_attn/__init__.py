"""yolo-attn: attention for Ultralytics YOLOv8 as one row of a model YAML.

Importing this package teaches Ultralytics the modules; after `pip install` that happens by itself.
"""

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

if not Path(__path__[0], "patches").is_dir():  # a checkout keeps cfg/ and patches/ beside the package
    __path__.append(str(Path(__path__[0]).parent))

from . import modules
from .modules import clips, export_safe
from .patches import apply
from .registry import Spec, get, names, register

_LATER = {
    **dict.fromkeys(("insert", "remove", "replace"), "edit"),
    **dict.fromkeys(("compare", "report"), "comparison"),
    "bench": "benchmarks",
    **dict.fromkeys(("Finding", "preflight"), "inspection"),
    "draw_graph": "diagram",
    "migrate": "migration",
    "viz": "visualization",
}
__all__ = ["Spec", "__version__", "clips", "export_safe", "get", "modules", "names", "register", *_LATER]

apply()


def __getattr__(name: str) -> Any:
    """What works on models is imported when it is asked for: every start of Ultralytics imports this package."""
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
