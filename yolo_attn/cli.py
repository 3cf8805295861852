"""`yolo-attn`: edits of models, what the plugin has to offer, and stock Ultralytics commands with the plugin loaded."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .registry import suggest

HELP = f"""yolo-attn {__version__}: attention for Ultralytics YOLOv8 as one row of a model YAML.

  yolo-attn insert base=yolov8n.yaml module=DAttention at=sppf out=my.yaml
  yolo-attn insert base=yolov8n.yaml module=SE at=neck weights=yolov8n.pt out=my.pt
      A model with modules inserted, as a YAML, or as a checkpoint that keeps the weights. Without `out` it is printed.
  yolo-attn replace base=yolov8n.yaml module=iAFF at=11 args=512 out=my.yaml
  yolo-attn remove base=my.yaml at=SE out=plain.yaml
  yolo-attn preflight model=my.yaml imgsz=640 batch=16
      Will it train? Rows, gradients, half precision, memory and export of a YAML or checkpoint, in under a minute.
  yolo-attn compare models=yolov8n.yaml,yolov8n-dattn.yaml data=shapes.yaml pretrained=yolov8n.pt seeds=5 epochs=20
      Does it help on my data? Trains each model with each seed and compares mAP with the first one's, with intervals.
  yolo-attn report runs/compare/shapes
      The same tables and pictures again from the results; of several folders also a pooled one.
      `yolo-attn insert -h` and so on explain each argument.
  yolo-attn bench modules=SE,DAttention imgsz=640
      How fast are modules and models here, in how much memory? Beside the published form of each mechanism.
  yolo-attn list
      The modules that a model YAML can name, with kind, parameters, GFLOPs, paper and year.
  yolo-attn info DAttention
      One of them in full: its row, its arguments, its paper and what differs from it.
  yolo-attn train model=yolov8n-dattn.yaml data=shapes.yaml epochs=3 imgsz=160
      Any command of `yolo` (train, val, predict, export, ...): handed to Ultralytics with the plugin loaded. After
      `pip install` plain `yolo` does the same; this one is for places where Python reads no start-up files.
"""
HELP_WORDS = ("-h", "--help", "help")


def main() -> None:
    """Run one command line."""
    arguments = sys.argv[1:]
    verb = arguments[0] if arguments else "help"
    if verb in HELP_WORDS:
        print(HELP, end="")
    elif verb in ("-v", "--version", "version"):
        print(__version__)
    elif verb == "list":
        from . import catalogue

        print(catalogue.table(), end="")
    elif verb == "info":
        _info(arguments[1:])
    elif verb in VERBS:
        _run(verb, arguments[1:])
    else:
        from ultralytics.cfg import entrypoint

        entrypoint()


def _info(names: Sequence[str]) -> None:
    """Print modules in full."""
    from . import catalogue

    if not names or any(name in HELP_WORDS for name in names):
        print(
            "yolo-attn info NAME ...\n\nOne module in full, such as yolo-attn info SE. yolo-attn list names them all."
        )
    try:
        print("\n".join(catalogue.about(name) for name in names if name not in HELP_WORDS), end="")
    except ValueError as error:
        sys.exit(f"yolo-attn info: {error}")


def _run(verb: str, arguments: Sequence[str]) -> None:
    """Run a command of ours; a mistake is told in one line."""
    from ruamel.yaml.error import YAMLError

    from . import document, inspection

    function = getattr(sys.modules[__package__], verb)
    if any(a in HELP_WORDS for a in arguments):
        print(f"yolo-attn {verb} {VERBS[verb]}\n\n{inspect.getdoc(function)}")
        return
    folders = [a for a in arguments if "=" not in a or Path(a).is_dir()] if verb == "report" else []
    try:
        given = keywords(function, [a for a in arguments if a not in folders])
        result = function(*folders, **given)
    except (ValueError, TypeError, OSError, SyntaxError, YAMLError) as error:
        sys.exit(f"yolo-attn {verb}: {' '.join(str(error).split()).removeprefix(f'{verb}: ')}")
    except RecursionError:
        sys.exit(f"yolo-attn {verb}: a value must have fewer brackets in one another. See to what is not as meant.")
    except KeyboardInterrupt:
        sys.exit(f"yolo-attn {verb}: interrupted. The same command goes on where it was." if verb == "compare" else 130)
    if verb in EDITS:
        print(f"wrote {given['out']}" if "out" in given else document.dump(result).rstrip("\n"))
    elif verb == "preflight":
        print(inspection.text(result))
        sys.exit(any(finding.level == "error" for finding in result))
    elif any(row.get("failed") for row in result):
        sys.exit(1)


def keywords(function: Callable, arguments: Sequence[str]) -> dict[str, Any]:
    """Arguments of the form name=value, checked against a function; values are YAML, and a,b is a list.

    Where a function takes any keyword, as `compare` does for those of `yolo train`, it checks unknown ones itself.

    Raises:
        ValueError: If a name is unknown, given twice or missing.
    """
    from ruamel.yaml import YAML
    from ultralytics.cfg import merge_equals_args, parse_key_value_pair

    parameters = inspect.signature(function).parameters
    named = {k: p for k, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is p.KEYWORD_ONLY}
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given: dict[str, Any] = {}
    for argument in merge_equals_args(list(arguments)):
        name, equals, text = argument.partition("=")
        if not equals or (name not in named and not is_open):
            raise ValueError(f"there is no argument {argument!r}.{suggest(name, named)} Write {', '.join(named)}.")
        if name in given:
            raise ValueError(f"{name} is given twice. Write it once.")
        if not text:
            raise ValueError(f"{name} has no value. Write one behind {name}=, or leave it out.")
        if name not in named:  # Ultralytics' own, read as it reads them
            given[name] = parse_key_value_pair(argument)[1]
            continue
        value = YAML(typ="safe").load(text)
        if name in TEXTS and not isinstance(value, (bool, type(None))):
            value = text  # not a number or a date
        several = isinstance(value, str) and "," in value and name in LISTS
        given[name] = [YAML(typ="safe").load(part) for part in value.split(",")] if several else value
    if missing := [k for k, p in named.items() if p.default is p.empty and k not in given]:
        raise ValueError(f"{', '.join(missing)} must be given, such as {EXAMPLES[function.__name__]}.")
    return given


EDITS = ("insert", "replace", "remove")
VERBS = dict.fromkeys((*EDITS, "bench", "compare", "preflight"), "name=value ...") | {
    "report": "FOLDER ... [out=FOLDER]"
}
PATHS = ("model", "base", "weights", "out", "data", "pretrained", "project", "write")
TEXTS = (*PATHS, "test", "name", "address", "dtype")
LISTS = ("module", "modules", "at", "models", "control", "device")
EXAMPLES = {
    "insert": "base=yolov8n.yaml module=DAttention at=sppf",
    "replace": "base=yolov8n.yaml module=iAFF at=11",
    "remove": "base=my.yaml at=SE",
    "preflight": "model=yolov8n-dattn.yaml",
    "compare": "models=yolov8n.yaml,yolov8n-dattn.yaml data=my.yaml pretrained=yolov8n.pt",
}
