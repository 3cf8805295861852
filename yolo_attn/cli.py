"""`yolo-attn`: stock Ultralytics commands with the plugin loaded, and what the plugin has to offer."""

from __future__ import annotations

import sys

from . import __version__
from .registry import Spec, specs

HELP = f"""yolo-attn {__version__}: attention for Ultralytics YOLOv8 as one row of a model YAML.

  yolo-attn train model=yolov8n-dattn.yaml data=shapes.yaml epochs=3 imgsz=160
      Any command of `yolo` (train, val, predict, export, ...): handed to Ultralytics with the plugin loaded. After
      `pip install` plain `yolo` does the same; this one is for places where Python reads no start-up files.
  yolo-attn modules
      The modules that a model YAML can name, as a Markdown table.
"""


def main() -> None:
    """Run one command line."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
    elif arguments == ["modules"]:
        print(table(), end="")
    else:
        from ultralytics.cfg import entrypoint

        entrypoint()


def table() -> str:
    """The registered modules as a Markdown table: row, what it is, paper."""
    rows = [f"| `{_row(s)}` | {_summary(s)} | {_paper(s)} |\n" for s in specs()]
    return "".join(["| Row | What it is | Paper |\n", "|---|---|---|\n", *rows])


def _row(spec: Spec) -> str:
    return f"[[-1, 6], 1, {spec.name}, [256]]" if spec.channels == "fuse" else f"[-1, 1, {spec.name}, []]"


def _summary(spec: Spec) -> str:
    return (spec.cls.__doc__ or "").strip().partition("\n")[0]


def _paper(spec: Spec) -> str:
    number = spec.paper.removeprefix("arXiv:")
    return f"[{spec.paper}](https://arxiv.org/abs/{number})" if number != spec.paper else spec.paper
