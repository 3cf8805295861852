"""Models and checkpoints from strangers: long, circular or exploding YAMLs, classes that are not layers."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel
from yolo_attn.patches import host, parser

import yolo_attn
from yolo_attn import graph
from yolo_attn.modules import Residual

from ..tiny import NAMES

MODEL = "nc: 1\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [-1, 1, SE, []]\nhead:\n  - [[1], 1, Detect, [nc]]\n"
LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{b}'] * 10)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)
)  # a billion
ENDLESS = {
    "a row in itself": MODEL.replace("[-1, 1, SE, []]", "&r [-1, 1, SE, [*r]]"),
    "a row as its own arguments": MODEL.replace("[-1, 1, SE, []]", "&r [-1, 1, SE, *r]"),
    "an argument in itself": MODEL.replace("[]", "[&m {reduction: *m}]"),
    "from in itself": MODEL.replace("[-1, 1, SE", "[&f [-1, *f], 1, SE"),
    "a list of rows in itself": MODEL.replace("backbone:", "backbone: &b").replace("[-1, 1, SE, []]", "*b"),
    "a billion arguments": LAUGHS + MODEL.replace("[]", "[*i]"),
    "a billion rows": LAUGHS + MODEL.replace("[-1, 1, SE, []]", "*i"),
}
BESIDE = {  # what Ultralytics doesn't look at
    "a note in itself": MODEL + "note: &n [*n]\n",
    "a billion notes": MODEL + LAUGHS,
    "a deep note": MODEL + f"note: {'[' * 300}{']' * 300}\n",
}


def written(folder: Path, text: str) -> Path:
    (folder / "model.yaml").write_text(text)
    return folder / "model.yaml"


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_models(name: str, tmp_path: Path) -> None:
    """An error that is printed, or a text that is compared, would take all memory or end in RecursionError."""
    path = written(tmp_path, ENDLESS[name])
    row_1 = r"model.yaml.*row 1.*: a row must (hold at most 1000000 values and characters|be \[from)"
    with pytest.raises(ValueError, match=row_1):
        YOLO(path)
    with pytest.raises(ValueError, match=row_1):
        yolo_attn.insert(path, "GCT", 0, out=tmp_path / "out.yaml")


@pytest.mark.parametrize("name", BESIDE)
def test_endless_notes(name: str, tmp_path: Path) -> None:
    """Editing a model would hang, or end in RecursionError, because of a part that isn't edited."""
    path = written(tmp_path, BESIDE[name])
    YOLO(path)
    with pytest.raises(ValueError, match=r"model.yaml: a model must hold at most 1000000 values and characters"):
        yolo_attn.insert(path, "GCT", 0, out=tmp_path / "out.yaml")
    note: list[Any] = []
    note.append(note)
    with pytest.raises(ValueError, match="base: a model must hold at most"):
        yolo_attn.insert({**host.load_yaml("yolov8n.yaml"), "note": note}, "GCT", "sppf")
    with pytest.raises(ValueError, match="args must hold at most"):
        yolo_attn.insert("yolov8n.yaml", "SE", "sppf", note)


def test_ten_thousand_rows(monkeypatch) -> None:
    """A long model would take minutes: what is done for a row would look at all others."""
    calls = 0

    def counted(*arguments, stock=parser.find):
        nonlocal calls
        calls += 1
        return stock(*arguments)

    monkeypatch.setattr(parser, "find", counted)
    rows = [row for _ in range(5_000) for row in ([-1, 1, "nn.Identity", []], [-1, 1, "GCT", []])]
    stem = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(4)]
    d = {"nc": 1, "backbone": [*stem, *map(list, rows)], "head": [[[-1], 1, "Detect", ["nc"]]]}
    model = DetectionModel(d, verbose=False)
    assert len(model.model) == 10_005 and len(host.inserted(model)) == 5_000
    assert calls < 10 * 10_000
    assert graph.insert(d, 5_000, [-1, 1, "SE", []]) == 5_001
    graph.remove(d, 5_001)
    assert len(d["backbone"]) == 10_004
    with pytest.raises(ValueError, match=r"model, row 10003 .GCT.: repeats must be an integer from 1 to 1000, got 0"):
        DetectionModel({**d, "backbone": [*d["backbone"][:-1], [-1, 0, "GCT", []]]}, verbose=False)


class Foreign:
    """An object whose rebuilding runs a command."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


needs_restricted = pytest.mark.skipif(
    not hasattr(tasks, "_SafeLoad"), reason="restricted loading came with ultralytics 8.4.100"
)


@needs_restricted
@pytest.mark.parametrize("call, message", [
    ((os.system, "touch ran"), "references types outside the supported Ultralytics checkpoint format"),
    ((eval, "open('ran', 'w')"), "references types outside the supported Ultralytics checkpoint format"),
    ((yolo_attn.get, "evil.Gate"), r"holds yolo_attn.registry.get, which is no layer of this yolo_attn"),
    ((Residual, 8, "evil.Gate"), r"evil.Gate is not imported: a layer or restricted loading imports nothing"),
    ((Residual, 8, "Residual", (8, "evil.Gate")), r"evil.Gate is not imported: a layer or restricted loading imports"),
])  # fmt: skip
def test_restricted_loading_runs_nothing(call: tuple, message: str, tmp_path: Path, monkeypatch) -> None:
    """A checkpoint from a stranger could run a command or import a file in spite of restricted loading."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n")
    torch.save({"model": Foreign(*call)}, "foreign.pt")
    with pytest.raises((TypeError, ModuleNotFoundError, ValueError), match=message):
        tasks.torch_safe_load("foreign.pt", safe_only=True)
    assert not Path("ran").exists()


@needs_restricted
def test_restricted_building_imports_nothing_inside(tmp_path: Path, monkeypatch) -> None:
    """A row inside a row could make Python import a file."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    head = [[-1, 1, "Residual", ["Residual", "evil.Gate"]], [[1], 1, "Detect", ["nc"]]]
    d = {"nc": 1, "backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": head}
    monkeypatch.setattr(tasks, "SAFE_LOAD", True)
    with pytest.raises(ValueError, match=r"row 1 .Residual.: evil.Gate is not imported"):
        DetectionModel(d, verbose=False)


@pytest.mark.parametrize("restricted", [False, pytest.param(True, marks=needs_restricted)])
def test_a_file_of_ours_that_is_gone(restricted: bool, tmp_path: Path, monkeypatch) -> None:
    """Ultralytics would install whatever package somebody has put into a registry under the file's dotted name."""
    gone = ModuleType("yolo_attn.modules.gone")
    gone.Gone = type("Gone", (nn.Module,), {"__module__": gone.__name__})
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, gone.__name__, gone)
        torch.save({"model": gone.Gone()}, tmp_path / "gone.pt")
    looked_up: list[str] = []
    monkeypatch.setattr(importlib.metadata, "version", lambda name: looked_up.append(name) or "0")
    message = "needs yolo_attn.modules.gone, which is gone. Install the version of yolo_attn that it"
    if restricted:
        message = "holds yolo_attn.modules.gone.Gone, which is no layer of this yolo_attn. Install the version that it"
    with pytest.raises(ModuleNotFoundError, match=rf"gone.pt {message} was made with"):
        tasks.torch_safe_load(str(tmp_path / "gone.pt"), **({"safe_only": True} if restricted else {}))
    assert not looked_up


def test_the_name_that_a_checkpoint_asks_for() -> None:
    """Where the plugin is missing, Ultralytics installs the package that a checkpoint's classes are in: it must be this
    one, not somebody else's."""
    assert re.sub(r"[-_.]+", "-", importlib.metadata.distribution("yolo-attn").metadata["Name"]).lower() == "yolo-attn"
    packages = {module.partition(".")[0] for name in NAMES for module in _files(yolo_attn.get(name).cls)}
    assert packages == {"torch", "yolo_attn"}


def _files(cls: type) -> set[str]:
    return {base.__module__ for base in cls.__mro__ if issubclass(base, nn.Module)}
