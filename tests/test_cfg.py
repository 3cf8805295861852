"""The shipped model YAMLs are what the installed Ultralytics' YAMLs give."""

from __future__ import annotations

import runpy

import pytest
from yolo_attn.patches import host

import yolo_attn

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


EXPECTED = {
    "CBAM", "SE", "CoordAtt", "SK", "ECA", "SimAM", "TripletAttention", "GlobalContext", "MHSA", "ShuffleAttention",
}  # fmt: skip


def test_every_module_has_a_model() -> None:
    """A module would be there that neither a YAML nor `insert` shows, or one that many look for lack a YAML."""
    models = (host.load_yaml(path) for path in (ROOT / "cfg").glob("*.yaml"))
    used = {spec.name for model in models for spec in GENERATE["specs"](model)}
    assert used >= EXPECTED
    for name in set(NAMES) - used - {"Residual"}:
        model = yolo_attn.insert("yolov8n.yaml", name, "sppf", yolo_attn.get(name).row[3])
        assert [spec.name for spec in GENERATE["specs"](model)] == [name]
