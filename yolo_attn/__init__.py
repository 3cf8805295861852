"""yolo-attn: attention for Ultralytics YOLOv8 as one row of a model YAML.

Importing this package teaches Ultralytics the modules; after `pip install` that happens by itself.
"""

from pathlib import Path

__version__ = "0.1.0"

if not Path(__path__[0], "patches").is_dir():  # a checkout keeps cfg/ and patches/ beside the package
    __path__.append(str(Path(__path__[0]).parent))

from . import modules
from .patches import apply
from .registry import Spec, get, names, register

__all__ = ["Spec", "__version__", "get", "modules", "names", "register"]

apply()
