"""Write the generated parts of README.md and of the pages of this folder anew: `python docs/generate.py`.

They stand between `<!-- name -->` and `<!-- /name -->`. The README's table of exports is measured, by
`tests.contract.exports`.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

from yolo_attn import catalogue

ROOT = Path(__file__).parents[1]


def part(start: str) -> str:
    """The part of the comparison's summary that begins so."""
    parts = (ROOT / "docs" / "bccd" / "summary.md").read_text(encoding="utf-8").split("\n\n")
    (found,) = [part for part in parts if part.startswith(start)]
    return found


def comparison() -> str:
    return f"{part('bccd.yaml')}\n\n{part('| model                 | runs')}\n"


def verdicts() -> str:
    return f"{part('mAP50-95 is the mean')}\n\n{part('- yolov8n-dattn: ')}\n"


def cost() -> str:
    return f"{part('| model                 | tensors')}\n\n{part('Tensors: ')}\n"


def models() -> str:
    return runpy.run_path(str(ROOT / "cfg" / "generate.py"))["table"]() + "\n"


PARTS: dict[str, dict[str, Callable[[], str]]] = {  # page: name and maker of each part
    "README.md": {
        "comparison": comparison,
        "kinds": catalogue.kinds,
        "modules": catalogue.markdown,
    },
    "docs/models.md": {"models": models},
    "docs/comparison.md": {"verdicts": verdicts},
    "docs/choosing.md": {"cost": cost},
}


def generated(page: str) -> str:
    """A page as it is to be."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, make in PARTS[page].items():
        said = f"<!-- {name} -->\n{make()}<!-- /{name} -->"
        text, found = re.subn(f"<!-- {name} -->\n.*?<!-- /{name} -->", lambda _, said=said: said, text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"{page} must have the marks of {name} once, got {found}. Write <!-- {name} -->.")
    return text


if __name__ == "__main__":
    for page in PARTS:
        (ROOT / page).write_text(generated(page), encoding="utf-8")
