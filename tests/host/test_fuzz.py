"""Rows of a model YAML, drawn at random, give a model or an error that names row and module."""

from __future__ import annotations

import faulthandler
import math
import re
from copy import deepcopy
from types import TracebackType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from ultralytics.nn.tasks import DetectionModel
from yolo_attn.patches import host

from yolo_attn.registry import Spec, find

from ..tiny import NAMES

HANG_S = 120  # an example takes milliseconds; one that takes this long ends the run with its traceback
STEM = [[-1, 1, "Conv", [32, 8, 8]], [-1, 1, "Conv", [32]], [-1, 1, "Conv", [32]]]  # all maps small
ODD_NAMES = [
    "yolo_attn.SE", "yolo_attn.modules.se.SE", "yolo_attn.modules.se.Se", "yolo_attn.rows", "yolo_attn.", "se", "SÉ",
    "DAtention", "SE ", "", ".", "..SE", ".SE", "SE.", "a..b", "os.system", "os.path.join", "no.such.Gate", "\0",
    "\ud800.x", "__main__.SE", "builtins.eval", "torch.nn.Identity", "nn.Identity", "nn.", "nn.Nothing", "x" * 10_000,
    "torchvision.ops.Nothing", "venv.__main__.X", "_yolo_attn_row", "Conv", "C2f", "Concat", "SPPF",
]  # fmt: skip
ODD_TEXTS = [
    "", " ", "None", "True", "nan", "1e999", "nc", "ch", "d", "args", "m", "layers", "dwc", "LD", "l1", "1 + 1", "4 4",
    "[1, 2", "(" * 500, "-" * 100_000 + "1", "[" * 150 + "]" * 150, "{[]: 1}", "9" * 5000, "lambda: 0", "import os",
    "__import__('os').abort()", "exit()", "\0", "\ud800", "é", "😀", "{'reduction': 4}", "f'{1}'", "b'x'", "...", "1j",
]  # fmt: skip
HUGE = [10**12, 2**63, 2**64 + 1, 10**400, -(10**12)]  # more than any machine has, so that nothing is allocated

keys = st.one_of(st.text(max_size=6), st.integers(-3, 9), st.none(), st.booleans())
scalars: SearchStrategy[Any] = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([16, 32]),
    st.none(),
    st.booleans(),
    st.sampled_from(HUGE),
    st.sampled_from([0.0, 0.5, -1.0, 2.0, math.nan, math.inf, -math.inf, 1e308, 5e-324]),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=6),
)
values = st.recursive(
    scalars, lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(keys, v, max_size=2)), max_leaves=6
)
indices = st.one_of(st.integers(-6, 6), st.sampled_from([99, 10**30, -99, True, None, "-1", 1.0, math.nan, [], {}]))
sources = st.one_of(indices, st.lists(indices | st.lists(indices, max_size=2), max_size=3))
repeats = st.sampled_from([2, 3, 0, -1, 10**9, 10**30, True, None, "1", "", 1.0, 2.5, math.nan, math.inf, [1]])


ODDITIES = ["", "", "from", "repeats", "name", "arguments", "an argument", "an argument", "a keyword", "shape"]


@st.composite
def usual(draw, spec: Spec) -> list[Any]:
    """Arguments as they should be: the first few, or the defaults."""
    if spec.channels == "wrap":
        inner = find(draw(st.sampled_from(NAMES)))
        return [inner.name, *draw(usual(inner))]
    taken = 1 + (spec.repeats and spec.channels != "out")
    free = [p for p in list(spec.parameters.values())[taken:] if p.name != "in_channels"]
    values = [32] * (spec.channels == "fuse") + [32 if p.default is p.empty else p.default for p in free]
    return values[: draw(st.integers(spec.channels == "out", len(values)))]


@st.composite
def row(draw) -> Any:
    """A row of a model that is right but for one thing, or altogether."""
    spec = find(draw(st.sampled_from(NAMES)))
    args = draw(usual(spec))
    made = [[-1, -2] if spec.channels == "fuse" else -1, 1, spec.name, args]
    inner = find(args[0]) if spec.channels == "wrap" else spec
    if spec.channels == "wrap" and inner.channels == "fuse":
        made[0] = [-1, -2, -1]
    odd = draw(st.sampled_from(ODDITIES))
    value = draw(st.sampled_from(ODD_TEXTS) | scalars | values) if odd.startswith("a") else None
    if odd == "from":
        made[0] = draw(sources)
    elif odd == "repeats":
        made[1] = draw(repeats)
    elif odd == "name":
        made[2] = draw(st.sampled_from(ODD_NAMES) | st.text(max_size=8))
    elif odd == "arguments":
        made[3] = value
    elif odd == "an argument":
        at = draw(st.integers(0, len(args)))
        args[at : at + 1] = [value]
    elif odd == "a keyword":
        args.append({draw(st.sampled_from([*inner.parameters][len(args) :] or ["dim"]) | keys): value})
    elif odd == "shape":
        return draw(st.sampled_from([made[:3], [*made, 1], None]) | values)
    return made


def deepest(traceback: TracebackType | None, function: str) -> dict[str, Any]:
    """Variables of the innermost call of a function on the way to an error."""
    found: dict[str, Any] = {}
    while traceback:
        if traceback.tb_frame.f_code.co_name == function:
            found = traceback.tb_frame.f_locals
        traceback = traceback.tb_next
    return found


def said_well(error: Exception, rows: list[Any]) -> bool:
    """Whether an error names its row and module, or their class where it runs, or is of a stock layer drawn."""
    if named := re.match(r"model, row (\d+)", str(error)):
        name = rows[int(named[1])][2:3] if isinstance(rows[int(named[1])], list) else []
        known = not name or not isinstance(name[0], str) or not find(name[0]) or find(name[0]).name in str(error)
        return type(error) in (ValueError, TypeError, KeyError) and known
    if running := deepest(error.__traceback__, "_predict_once"):
        if host.spec_of(running["m"]):
            inside = {type(module).__name__ for module in running["m"].modules()}
            return type(error) in (ValueError, TypeError) and any(name in str(error) for name in inside)
    elif find(deepest(error.__traceback__, "parse_model")["m"]):
        return False
    return any(isinstance(drawn, list) and not find(drawn[2]) for drawn in rows[len(STEM) : -1])


def holds(rows: list[Any]) -> None:
    """The property."""
    rows = [*deepcopy(STEM), *rows, [[-1], 1, "Detect", ["nc"]]]
    d = {"nc": 2, "backbone": rows[:3], "head": rows[3:]}
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        model = DetectionModel(deepcopy(d), verbose=False)
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, 64, 64))
    except Exception as error:
        if not said_well(error, rows):
            raise
    finally:
        faulthandler.cancel_dump_traceback_later()


any_rows = given(st.lists(row(), min_size=1, max_size=2))
at_ease = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@settings(at_ease, max_examples=150)
@any_rows
def test_any_row(rows: list[Any]) -> None:
    """A row would hang or crash, or its error would not say which row and module are meant."""
    holds(rows)


@pytest.mark.slow
@settings(at_ease, max_examples=2000)
@any_rows
def test_any_of_many_rows(rows: list[Any]) -> None:
    """A row would hang or crash, or its error would not say which row and module are meant."""
    holds(rows)
