"""The shipped model YAMLs are what the installed Ultralytics' YAMLs give."""

from __future__ import annotations

import runpy

import pytest
from yolo_attn.patches import host

from .conftest import ROOT
from .tiny import NAMES

GENERATE = runpy.run_path(str(ROOT / "cfg" / "generate.py"))


@pytest.mark.parametrize("name", GENERATE["MODELS"])
def test_in_step(name: str) -> None:
    """A YAML would be edited by hand, or stay behind a change of Ultralytics' own or of the code that inserts."""
    assert (ROOT / "cfg" / f"yolov8-{name}.yaml").read_text(encoding="utf-8") == GENERATE["text"](name)


def test_nothing_else() -> None:
    """A YAML would be shipped that nobody makes."""
    assert {p.stem for p in (ROOT / "cfg").glob("*.yaml")} == {f"yolov8-{name}" for name in GENERATE["MODELS"]}


def test_every_module_has_a_model() -> None:
    """A module would be there that no YAML shows how to use."""
    models = (host.load_yaml(path) for path in (ROOT / "cfg").glob("*.yaml"))
    used = {spec.name for model in models for spec in GENERATE["specs"](model)}
    assert used | {"Residual"} == set(NAMES)
