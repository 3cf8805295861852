"""Insertions into every model that Ultralytics ships: nothing changes at step 0, and no weight is lost."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml
from yolo_attn.patches import host

import yolo_attn
from yolo_attn import document, graph, places

from .models import CANNOT, MODELS, outputs, scaled, seeded, transferred

OLD = ("rtdetr", "yolov3", "yolov5", "yolov6", "yolov9", "yolov10")  # or large: for the slow tests


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * n.startswith(OLD)) for n in MODELS if n not in CANNOT]
)
def test_every_shipped_model(name: str) -> None:
    """Somewhere in Ultralytics' models an insertion would move a layer, lose a weight or change an output."""
    d = scaled(host.load_yaml(str(MODELS[name])))
    found = places.named(d, host.measure(d))
    assert any(p.startswith("p") for p in found)
    assert "neck" in found or d["head"][-1][2] == "Classify"
    layers = sorted({*found["backbone"], *found.get("neck", [])})
    stock = seeded(d)
    want = outputs(stock)
    other = {**d, "nc": 3}
    few = transferred(seeded(other), stock)
    for module in ("SE", "DAttention"):
        changed, changed_few = copy.deepcopy(d), copy.deepcopy(other)
        for layer in reversed(layers):
            for model in (changed, changed_few):
                graph.insert(model, layer, [-1, 1, "Residual", [module]])
        model = seeded(changed, like=stock)
        tensors = len(stock.state_dict())
        assert transferred(model, stock) == (tensors, tensors)
        got = outputs(model)
        assert len(got) == len(want) > 0 and all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        if module == "SE":
            assert transferred(seeded(changed_few), stock) == few


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT])
def test_each_place_of_every_shipped_model(name: str) -> None:
    """The same with one insertion at a time, by the public function."""
    d = scaled(host.load_yaml(str(MODELS[name])))
    stock = seeded(d)
    want = outputs(stock)
    for place in places.named(d, host.measure(d)):
        if place.startswith(("p", "neck-", "sppf")):
            for module in ("SE", "DAttention"):
                model = seeded(yolo_attn.insert(d, module, place), like=stock)
                model.load(stock, verbose=False)
                assert all(torch.equal(a, b) for a, b in zip(outputs(model), want, strict=True)), (place, module)


def test_models_that_cannot_be_handled_are_known() -> None:
    """A model would be left out without a reason."""
    assert set(CANNOT) <= set(MODELS) and len(MODELS) - len(CANNOT) >= 48


@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT])
def test_text(name: str) -> None:
    """Comments or other bytes of a YAML would be lost, or its text would say another model than its dictionary."""
    text = MODELS[name].read_text(encoding="utf-8")
    d = host.load_yaml(str(MODELS[name]))
    last = len(graph.rows(d)) - 2

    def insert(model) -> None:
        for layer in (last, len(d["backbone"]) - 1, 2, 0):
            graph.insert(model, layer, [-1, 1, "Residual", ["SE", {"reduction": 4}]])

    changed = document.edited(text, d, insert)
    again = {k: v for k, v in d.items() if k not in ("scale", "yaml_file")}
    assert yaml.safe_load(changed) == again  # by the reader that Ultralytics uses
    kept = [line for line in text.splitlines() if "[" not in line]
    assert [line for line in changed.splitlines() if "[" not in line] == kept

    def remove(model) -> None:
        while found := [i for i, row in enumerate(graph.rows(model)) if row[2] == "Residual"]:
            graph.remove(model, found[0])

    assert document.edited(changed, d, remove) == text
