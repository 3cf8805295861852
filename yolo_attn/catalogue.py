"""What the plugin has to offer: all modules in a table, and one in full."""

from __future__ import annotations

import inspect
from typing import Any

from tabulate import tabulate

from . import log
from .registry import KINDS, Spec, get, specs

LEVEL = "P5"  # of yolov8n, where most modules are inserted: 256 channels, at 640 pixels 20 x 20


def table() -> str:
    """The registered modules, with parameters and GFLOPs at P5 of yolov8n for 640-pixel images."""
    lines = [
        {
            "Module": spec.name,
            "Kind": spec.kind,
            **_costs(spec),
            "Paper": spec.paper,
            "Year": str(spec.year or ""),
        }
        for spec in log.progress(specs(), "modules")
    ]
    return f"{tabulate(lines, headers='keys', tablefmt='simple', disable_numparse=True)}\n"


def markdown() -> str:
    """The same as a Markdown table of rows, with what each module is."""
    lines = [
        {
            "Row": f"`{_row(spec)}`",
            "What it is": (spec.cls.__doc__ or "").strip().partition("\n")[0],
            **_costs(spec),
            "Paper": _paper(spec, "[{0}]({1})"),
        }
        for spec in specs()
    ]
    columns = [*lines[0]]
    cells = [columns, ["---"] * len(columns), *([*line.values()] for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def kinds() -> str:
    """The names of the modules by kind, as a Markdown table."""
    by_kind = {kind: [f"`{spec.name}`" for spec in specs() if spec.kind == kind] for kind in KINDS}
    return "".join(["| Kind | Modules |\n|---|---|\n", *(f"| {k} | {', '.join(v)} |\n" for k, v in by_kind.items())])


def about(*names: str) -> str:
    """Modules in full: row, constructor, and documentation, which ends with the difference to the paper.

    Args:
        *names: Names of modules.

    Raises:
        ValueError: If there is no such module, or none is named.
    """
    if not names:
        raise ValueError("a module must be named, such as DAttention. `yolo-attn list` names them all.")
    return "\n".join(map(_about, names))


def _about(name: str) -> str:
    spec = get(name)
    costs = _costs(spec)
    facts = {
        "row": _row(spec),
        "constructor": f"{spec.name}{_signature(spec)}",
        "kind": spec.kind,
        "at P5 of yolov8n": f"{costs['Parameters']} parameters, {costs['GFLOPs']} GFLOPs" if costs["GFLOPs"] else "",
        "paper": f"{_paper(spec, '{1}')}{f', {spec.year}' * bool(spec.year)}",
        "official code": f"{spec.licence} licence" if spec.licence else "",
        "also known as": ", ".join(spec.known_as),
    }
    rows = tabulate([[k, v] for k, v in facts.items() if v], tablefmt="plain", disable_numparse=True)
    return f"{rows}\n\n{inspect.getdoc(spec.cls)}\n"


def _row(spec: Spec) -> str:
    source, repeats, name, arguments = spec.row
    return f"[{source}, {repeats}, {name}, [{', '.join(map(str, arguments))}]]"


def _costs(spec: Spec) -> dict[str, str]:
    from .benchmarks.cases import Case, as_clips
    from .measure import flops_of, parameters

    try:
        module, x = Case(spec, tuple(spec.row[3]) if spec.channels == "wrap" else ()).build(LEVEL, 640, 1)
        with as_clips(module.eval()):
            gflops = flops_of(lambda: module(x if spec.channels == "fuse" else x[0])) / len(x[0])
    except (RuntimeError, TypeError, ValueError):  # a user's own module may need arguments, or be for another place
        return {"Parameters": "", "GFLOPs": ""}
    return {"Parameters": f"{parameters(module):,}", "GFLOPs": f"{gflops:.2g}" if gflops < 0.1 else f"{gflops:.2f}"}


def _paper(spec: Spec, form: str) -> str:
    number = spec.paper.removeprefix("arXiv:")
    return form.format(spec.paper, f"https://arxiv.org/abs/{number}") if number != spec.paper else spec.paper


def _signature(spec: Spec) -> str:
    def plain(parameter: inspect.Parameter) -> Any:
        return parameter.replace(annotation=parameter.empty)

    return str(inspect.Signature([plain(p) for p in spec.parameters.values()]))
