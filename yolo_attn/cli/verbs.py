"""What `yolo-attn` can do: an entry per verb, from which its help is made and by which it is run."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__

Given = Mapping[str, Any]
Told = tuple[str, int]  # text for stdout, and exit status


def _text(result: Any, given: Given) -> Told:
    return str(result).rstrip("\n"), 0


def _model(result: Any, given: Given) -> Told:
    from .. import document

    return (f"wrote {given['out']}" if "out" in given else document.dump(result).rstrip("\n")), 0


def _findings(result: Any, given: Given) -> Told:
    from ..inspection import text

    return text(result), int(any(finding.level == "error" for finding in result))


def _rows(result: Any, given: Given) -> Told:
    return "", int(any(row.get("failed") for row in result))  # their tables are told where they are made


def _migration(result: Any, given: Given) -> Told:
    from ..migration import text

    return text(result), 0


def _path(result: Any, given: Given) -> Told:
    return f"wrote {result}", 0


def _pictures(result: Any, given: Given) -> Told:
    folders = ", ".join(dict.fromkeys(str(Path(path).parent) for path in result))
    return f"wrote {len(result)} picture{'s' * (len(result) != 1)} to {folders}", 0


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        function: What it calls, as "module:name" in this package; imported when it is needed.
        says: What it does, in a sentence or two.
        examples: Its arguments in examples, each a command that can be given.
        words: How its help writes the words that it takes without a name, such as "FOLDER ...": they go into *arguments
            of the function, or else one into the first. "" where all are name=value.
        tell: The text for a result, with the exit status.
        stopped: What Ctrl-C leaves, in a sentence.
    """

    function: str
    says: str
    examples: tuple[str, ...]
    words: str = ""
    tell: Callable[[Any, Given], Told] = _text
    stopped: str = ""

    def resolve(self) -> Callable[..., Any]:
        """The function."""
        return pkgutil.resolve_name(f"yolo_attn.{self.function}")


def version() -> str:
    """The version of yolo-attn."""
    return __version__


VERBS = {
    "insert": Verb(
        "edit:insert",
        "A model with modules inserted, as a YAML, or as a checkpoint that keeps the weights; printed without `out`.",
        (
            "base=yolov8n.yaml module=DAttention at=sppf out=my.yaml",
            "base=yolov8n.yaml module=SE at=neck weights=yolov8n.pt out=my.pt",
        ),
        tell=_model,
    ),
    "replace": Verb(
        "edit:replace",
        "Another module in the place of layers.",
        ("base=yolov8n.yaml module=iAFF at=11 args=512 out=my.yaml",),
        tell=_model,
    ),
    "remove": Verb(
        "edit:remove",
        "A model without some of its layers.",
        ("base=my.yaml at=SE out=plain.yaml",),
        tell=_model,
    ),
    "graph": Verb(
        "diagram:draw_graph",
        "The layers of a model as a picture, inserted ones marked, with channels and sizes.",
        ("model=yolov8n-dattn.yaml out=graph.png",),
        tell=_path,
    ),
    "preflight": Verb(
        "inspection:preflight",
        "Will it train? Rows, gradients, half precision, memory and export of a YAML or checkpoint, in under a minute.",
        ("model=my.yaml imgsz=640 batch=16",),
        tell=_findings,
    ),
    "compare": Verb(
        "comparison:compare",
        "Does it help on my data? Trains each model with each seed and compares mAP with the first one's.",
        ("models=yolov8n.yaml,yolov8n-dattn.yaml data=shapes.yaml pretrained=yolov8n.pt seeds=5 epochs=20",),
        tell=_rows,
        stopped="The same command goes on where it was.",
    ),
    "report": Verb(
        "comparison:report",
        "The same tables and pictures again from the results; of several folders also a pooled one.",
        ("runs/compare/shapes",),
        words="FOLDER ...",
        tell=_rows,
    ),
    "viz": Verb(
        "visualization:viz",
        "What does the attention look at? Sampled points, maps and gates over images, with the detections.",
        ("model=best.pt source=image.jpg query=320,240",),
        tell=_pictures,
        stopped="The pictures so far are kept.",
    ),
    "bench": Verb(
        "benchmarks:bench",
        "How fast are modules and models here, in how much memory? Beside the published form of each mechanism.",
        ("modules=SE,DAttention imgsz=640",),
        tell=_rows,
    ),
    "migrate": Verb(
        "migration:migrate",
        "A model YAML or a checkpoint of an edited copy of Ultralytics, rewritten for this package, weights kept.",
        ("old.pt out=new.pt",),
        words="OLD",
        tell=_migration,
    ),
    "list": Verb(
        "catalogue:table",
        "The modules that a model YAML can name, with kind, parameters, GFLOPs, paper and year.",
        ("",),
    ),
    "info": Verb(
        "catalogue:about",
        "One of them in full: its row, its arguments, its paper and what differs from it.",
        ("DAttention",),
        words="NAME ...",
    ),
    "version": Verb("cli.verbs:version", "Which yolo-attn this is.", ("",)),
}
STOCK = "yolo-attn train model=yolov8n-dattn.yaml data=shapes.yaml epochs=3 imgsz=160"
