"""`yolo-attn`: stock Ultralytics commands with the plugin loaded, for places that autoload does not reach."""

from __future__ import annotations

import sys

from . import __version__, names

HELP = """yolo-attn {version}: attention for Ultralytics YOLOv8 as one row of a model YAML.

  yolo-attn train model=yolov8n-dattn.yaml data=shapes.yaml epochs=3 imgsz=160
      Any command of `yolo` (train, val, predict, export, ...): handed to Ultralytics with the plugin loaded. After
      `pip install` plain `yolo` does the same.
  yolo-attn modules
      The names that a model YAML can use.
"""


def main() -> None:
    """Run one command line."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(version=__version__))
    elif arguments[0] == "modules":
        print("\n".join(names()))
    else:
        from ultralytics.cfg import entrypoint

        entrypoint()
