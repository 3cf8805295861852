"""A preflight on what is written wrongly: files, scales, rows; what it prints and how it ends."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ultralytics.utils import LOGGER
from yolo_attn.patches import host

import yolo_attn
from yolo_attn import cli, graph, inspection
from yolo_attn.inspection.finding import Finding

from .broken import SOUND, findings, with_row
from .conftest import ROOT
from .models import MODELS

SCALES = {"scales": {"n": [0.33, 0.25, 1024], "s": [0.33, 0.5, 1024]}}
CHECKS = ["model", "rows", "build", "maps", "training", "batch of 1", "memory", "rectangles", "half precision"]


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    model = copy.deepcopy(SOUND)
    change(model)
    return model


def test_a_sound_model() -> None:
    """A false alarm, or a check that is left out."""
    found = yolo_attn.preflight(SOUND, imgsz=64, batch=2, device="cpu")
    assert [f for f in found if f.level != "ok" or f.do] == []
    assert list(dict.fromkeys(f.check for f in found)) == [*CHECKS, "export", "versions"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in MODELS if re.search(r"v8.*(?<!resnet50)(?<!resnet101)\.yaml", n)])
def test_stock_models(name: str) -> None:
    """A false alarm on a model of Ultralytics, of any task."""
    named = re.sub(r"v8", "v8n", name)
    limits = {"yolov8-world.yaml": ["export"]}  # its pooling to 3x3 is no operator of ONNX
    imgsz = 128 if "p6" in name else 64  # at 64 their last map has one pixel, which stops a batch of one image
    assert [f.check for f in findings(named, imgsz=imgsz)] == limits.get(name, [])


ROWS = {
    "dead row": (
        lambda d: d["head"].insert(3, [2, 1, "Conv", [16, 3]]),
        "error rows row 8 (Conv)",
        "no later row reads its output",
        "`yolo-attn insert` does it",
    ),
    "a row of three": (
        lambda d: d["backbone"][1].pop(),
        "error rows row 1",
        "it is [-1, 1, 'Conv']",
        "[from, repeats, module, arguments]",
    ),
    "arguments without brackets": (
        lambda d: d["backbone"][1].__setitem__(3, 8),
        "error rows row 1 (Conv)",
        "must be a list, got 8",
        "Write [8].",
    ),
    "no repeats": (
        lambda d: d["backbone"][1].__setitem__(1, 0),
        "error rows row 1 (Conv)",
        "repeats must be a whole number from 1, got 0",
        "Write 1.",
    ),
    "from ahead": (
        lambda d: d["head"][1].__setitem__(0, [-1, 30]),
        "error rows row 6 (Concat)",
        "`from` must name earlier layers, got [-1, 30]",
        "Layers 0 to 5 come before it",
    ),
    "one map for a Concat": (
        lambda d: d["head"][1].__setitem__(0, -1),
        "error build row 6 (Concat)",
        "'int' object is not iterable",
        "Write `from` as a list",
    ),
    "maps of two sizes": (
        lambda d: d["head"][1].__setitem__(0, [-1, 2]),
        "error build row 6 (Concat)",
        "Sizes of tensors must match",
        "Maps of different sizes meet here",
    ),
    "channels of another scale": (
        lambda d: d["backbone"].__setitem__(4, [-1, 1, "nn.Conv2d", [64, 64, 3, 2, 1]]),
        "error build row 4 (nn.Conv2d)",
        "to have 64 channels, but got 16 channels",
        "another width",
    ),
    "groups that don't divide": (
        lambda d: d["backbone"][2][3].extend([None, 3]),
        "error build row 2 (Conv)",
        "divisible by groups",
        "a number that divides the channels",
    ),
    "unknown module": (
        lambda d: d["backbone"][2].__setitem__(2, "Convv"),
        "error build row 2 (Convv)",
        "there is no module named 'Convv'",
        "Did you mean Conv",
    ),
    "no classes": (
        lambda d: d.pop("nc"),
        "error model",
        "nc must be the number of classes, got None",
        "Write nc: 80",
    ),
    "no such scale": (
        lambda d: d.update(SCALES, scale="x"),
        "error model",
        "built at scale 'x', and `scales` has n, s",
        "Add it there",
    ),
    "a scale of two numbers": (
        lambda d: d.update(scales={"n": [0.33, 0.25]}),
        "error model",
        "scale n is [0.33, 0.25]",
        "depth, width and most channels",
    ),
    "two maps of one stride": (
        lambda d: graph.rows(d)[-1].__setitem__(0, [2, 7, 3]),
        "warning maps row 8 (Detect)",
        "maps of strides 8, 16, 16",
        "P3, P4 and P5",
    ),
    "more channels than there is memory": (
        lambda d: d["backbone"][3].__setitem__(3, [200_000, 3, 2]) or d["backbone"][4].__setitem__(3, [200_000, 3, 2]),
        "error build",
        "weights, gradients and optimizer alone take",
        "fewer channels",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows(case: str) -> None:
    """A mistake in the rows would go unnoticed, be put down to another row, or come without advice."""
    change, place, what, do = ROWS[case]
    (found,) = findings(changed(change))
    assert f"{found.level} {found.check} {found.where}".strip() == place
    assert what in found.what and do in found.do


@pytest.mark.parametrize(
    ("name", "args", "what", "do"),
    [
        ("DAttention", [None, 7], "num_heads must divide dim, got num_heads=7 and dim=32", "Choose one of 1, 2, 4, 8,"),
        ("SE", [{"reduktion": 4}], "there is no argument 'reduktion'", "Did you mean reduction?"),
        ("DAtention", [], "there is no module named 'DAtention'", "Did you mean DAttention"),
        ("SE", [1, 2, 3, 4, 5], "got 5 arguments, at most 3 are possible", "SE takes ("),
    ],
)
def test_arguments_of_our_modules(name: str, args: list, what: str, do: str) -> None:
    """The message of a module, which says what to do, would get lost."""
    (found,) = findings(with_row(name, *args))
    assert (found.level, found.check, found.where) == ("error", "build", f"row 5 ({name})")
    assert what in found.what and found.do.startswith(do)


def test_a_row_inserted_by_hand() -> None:
    """The later rows would read, unnoticed, what they read before: layers that are one row further on now."""
    model = copy.deepcopy(SOUND)
    model["backbone"].append([-1, 1, "SE", []])
    dead, unmixed, left = findings(model)
    assert (dead.level, dead.where) == ("error", "row 8 (Conv)")
    assert unmixed.where == left.where == "row 9 (Detect)"
    assert "it reads a Concat, 7" in unmixed.what and "write 8" in unmixed.do
    assert "layer 4 (Conv) as it is before row 5 (SE)" in left.what


def test_a_reader_that_was_left_behind() -> None:
    """The head would see a map as it is before the module that was put behind it."""
    model = with_row("SE")
    graph.rows(model)[-1][0][2] = 4
    (found,) = findings(model)
    assert (found.level, found.where) == ("warning", "row 9 (Detect)")
    assert "layer 4 (Conv) as it is before row 5 (SE)" in found.what and "Write 5" in found.do


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *(("SE", [1024]), ("Residual", ["CBAM", 1024]), ("MS_CAM", [{"reduction": 33}]), ("SE", [32])),
        ("DoubleAttention", [256]),
    ],
)
def test_a_row_that_begins_with_channels(name: str, args: list) -> None:
    """The channels of a row of an edited copy would pass for a reduction, which leaves one hidden channel."""
    wrong = args != [32]  # as many as the row has
    found = findings(with_row(name, *args))
    assert [f.where.partition(" (")[0] for f in found if "is more than the 32 channels" in f.what] == ["row 5"] * wrong
    assert all(f.level == "warning" for f in found)


def written(folder: Path, name: str, **more: Any) -> str:
    (folder / name).write_text(yaml.safe_dump({**more, **SOUND}))
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "more", "what", "do"),
    [
        ("my.yaml", SCALES, "says no scale, so Ultralytics takes the first of n, s", "model=yolov8n-my.yaml"),
        ("yolov8small.yaml", SCALES, "Ultralytics reads scale s out of the name", "yolov8-small.yaml"),
        ("yolov8n-my.yaml", {**SCALES, "scale": "s"}, "the file says scale: s, which", "model=yolov8s-my.yaml"),
    ],
)
def test_scales_of_names(name: str, more: dict, what: str, do: str, tmp_path: Path) -> None:
    """A model of another size than was meant would be trained."""
    (found,) = findings(written(tmp_path, name, **more))
    assert (found.level, found.check) == ("warning", "model") and what in found.what and do in found.do
    advised = tmp_path / re.search(r"yolov8[\w-]+\.yaml", found.do)[0]
    (tmp_path / name).rename(advised)
    assert [f for f in findings(str(advised)) if what in f.what] == []


def test_scales_that_are_no_table(tmp_path: Path) -> None:
    """The advice would be about `from`."""
    findings = yolo_attn.preflight(written(tmp_path, "yolov8n-mine.yaml", scales=5), imgsz=64)
    (found,) = (each for each in findings if each.level == "error")
    assert found.what == "scales must be a table, got 5" and "scales: {n:" in found.do


@pytest.mark.parametrize("name", ["my.yaml", "yolov8n-my.yaml", "yolov8-my.yaml"])
def test_scales_that_are_no_question(name: str, tmp_path: Path) -> None:
    """A false alarm, where there is no other scale or the name says it."""
    assert findings(written(tmp_path, name, **(SCALES if "n-" in name else {}))) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nc: 2\nbackbone: [[-1, 1\n", "line 3"),
        ("- a", ""),
        ("nc: 2 # \xe9", "a model YAML must be a mapping"),
        ("", "a model YAML must be a mapping"),
    ],
)
def test_files_that_are_no_models(text: str, what: str, tmp_path: Path) -> None:
    """A broken file would end in a traceback."""
    (tmp_path / "my.yaml").write_bytes(text.encode("latin1"))
    (found,) = findings(tmp_path / "my.yaml")
    assert (found.level, found.check) == ("error", "model") and what in found.what and found.do


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "yolov8n-datn.yaml"}, "does not exist. Did you mean yolov8-dattn.yaml"),
        ({"model": "yolov8n-datn.pt"}, "there is no checkpoint yolov8n-datn.pt, and none is downloaded"),
        ({"model": "https://example.com/yolov8n.yaml"}, "model: a YAML or a checkpoint .* is needed"),
        ({"model": "yolov8n"}, "model: a YAML or a checkpoint .* is needed"),
        ({"model": SOUND, "imgsz": 0}, "imgsz: a whole number from 1 is needed, got 0. Write imgsz=640"),
        ({"model": SOUND, "batch": -1}, "batch: a whole number from 1 is needed, got -1. Write batch=16"),
        ({"model": SOUND, "opset": "x"}, "opset: a whole number from 1 is needed, got 'x'"),
        ({"model": SOUND, "device": 99}, "device: cpu or the number of one GPU"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo would be a finding about the model, start a download, or end in a traceback."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        yolo_attn.preflight(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file would be written, the dictionary changed, or somebody's random numbers and log be disturbed."""
    monkeypatch.chdir(tmp_path)
    model, filters = with_row("DAttention"), list(LOGGER.filters)
    torch.manual_seed(7)
    before, state, arrays = copy.deepcopy(model), torch.random.get_rng_state(), np.random.get_state()[1].copy()
    findings(model)
    assert model == before and torch.equal(torch.random.get_rng_state(), state) and LOGGER.filters == filters
    assert (np.random.get_state()[1] == arrays).all() and list(tmp_path.iterdir()) == []


def test_command(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command would not say what was found, or not tell a script that something is wrong."""
    monkeypatch.chdir(tmp_path)

    def ends(*arguments: str) -> tuple[Any, list[str]]:
        monkeypatch.setattr("sys.argv", ["yolo-attn", "preflight", *arguments])
        status = None
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code
        return status, capsys.readouterr().out.splitlines()

    written(tmp_path, "my.yaml")
    status, lines = ends("model=my.yaml", "imgsz=64", "batch=2")
    assert not status and lines[-1] == "No errors. Ready to train."
    assert [line[:4] for line in lines[:3]] == ["ok  "] * 3
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(with_row("DAttention", None, 7)))
    status, lines = ends("model=my.yaml", "imgsz=64", "batch=2")
    assert status == 1 and lines[-1] == "1 error. Mend what is marked as an error before you train."
    (line,) = [i for i, line in enumerate(lines) if line.startswith("error    build")]
    assert any(each.strip().startswith("-> Choose one of 1, 2") for each in lines[line : line + 3])
    assert "Did you mean imgsz?" in ends("imgz=64")[0]


def test_the_page(monkeypatch) -> None:
    """docs/models.md would show what isn't said."""
    monkeypatch.setenv("COLUMNS", "120")
    model = host.load_yaml("yolov8n.yaml")
    model["backbone"].append([-1, 1, "SE", []])  # the head is left as it was
    said = inspection.text(yolo_attn.preflight(model, imgsz=64, batch=2, device="cpu"))
    (block,) = re.findall(r"```\n(error .*?)```", (ROOT / "docs" / "models.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block in said


@pytest.mark.parametrize("rows, where", [
    (1, "row 0 (SE): "), (2, "row 0 (SE) and row 1 (SE): "), (10_000, "row 0 (SE) and 9999 more, to row 9999 (SE): ")
])  # fmt: skip
def test_rows_with_the_same_fault(rows: int, where: str) -> None:
    """A model with thousands of them would be told in as many lines."""
    alike = [Finding("error", f"row {i} (SE)", "it is dead", "Use it.", "rows") for i in range(rows)]
    said = inspection.text([*alike, Finding("error", "row 3 (SE)", "it is wide", "Mend it.", "rows")])
    assert where in said and len(said.splitlines()) == 5 and f"{rows + 1} errors" in said
