"""A preflight on what shows only when a model runs: faults of modules, memory, exports, versions, checkpoints."""

from __future__ import annotations

import re
import shutil
import sys
import venv
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from ultralytics import YOLO
from yolo_attn.patches import host, rehearsal

import yolo_attn
from yolo_attn.inspection import memory, versions

from .broken import SOUND, findings, with_row
from .conftest import ROOT
from .models import SHIPPED, WEIGHTS, needs_weights
from .test_versions import VERSIONS

MODULES = {
    "PooledNorm": ("warning", "batch of 1", "at a batch of one image, and the last batch", "GroupNorm"),
    "FixedSize": ("error", "rectangles", "images of 96x160 pixels, as validation has them", "sizes from the input"),
    "FloatTable": ("error", "half precision", "float16 fails, in which GPUs validate", "compute in one type"),
    "Widened": ("error", "half precision", "float16 fails, in which GPUs validate", "return x.dtype"),
    "AutocastMeetsWeight": ("error", "half precision", "autocast to bfloat16 fails, in which GPUs train", "one type"),
    "LargeSum": ("error", "half precision", "float16 gives infinity or NaN", "in float32 inside the module"),
    "Coarse": ("warning", "half precision", "float16 differs from float32 by", "coordinates, in float32"),
    "SteepRoot": ("error", "training", "the gradient of gain is not finite", "add an epsilon"),
    "Unused": (
        "warning",
        "training",
        "unused.weight and 1 more of its parameters gets no",
        'no_gradient = ("unused",)',
    ),
    "Frozen": ("warning", "training", "it freezes gain, and Ultralytics trains", "a buffer"),
    "Fourier": ("warning", "export", "no export to ONNX", "It trains all the same"),
}


@pytest.mark.parametrize("name", MODULES)
def test_faults_of_modules(name: str) -> None:
    """A fault would be met in the middle of a training, or be put down to another row."""
    (found,) = findings(with_row(name))
    level, check, what, do = MODULES[name]
    assert (found.level, found.check) == (level, check) and what in found.what and do in found.do
    assert found.where == ("" if check == "export" else f"row 5 ({name})")


def test_a_loss_that_is_no_number() -> None:
    """A model whose loss is NaN from the first step would be called ready."""
    training, half = findings(with_row("NotANumber"))
    assert (training.level, training.check, training.where) == ("error", "training", "row 5 (NotANumber)")
    assert "the loss is nan" in training.what and half.level == "error" and half.where == training.where


def test_a_batch_of_one_that_is_wanted() -> None:
    """A training that can't take its first step would only be warned of."""
    (found,) = findings(with_row("PooledNorm"), batch=1)
    assert (found.level, found.check) == ("error", "batch of 1") and "last batch" not in found.what


@pytest.mark.parametrize("name", ["DeclaredUnused", "SIFA", "SE", "DAttention"])
def test_sound_modules(name: str) -> None:
    """A false alarm, such as on parameters that are declared to have no gradient."""
    assert findings(with_row(name)) == []


def test_an_untrained_model_in_half_precision() -> None:
    """The maps of an untrained model, which fade from row to row, would be taken for lost digits."""
    assert findings("yolov8n.yaml") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models(name: str) -> None:
    """A false alarm on a model of this package."""
    assert findings(name.replace("yolov8", "yolov8n"), imgsz=128) == []


def test_sizes_that_are_rounded() -> None:
    """What is measured would not be what is trained."""
    (found,) = findings(SOUND, imgsz=70)
    assert found.level == "warning" and "imgsz=70" in found.what and found.do == "Write imgsz=96."


# ----------------------------------------------------------------------------------------------------- memory


def peak(model: torch.nn.Module, batch: int) -> int:
    """Bytes of the tensors that a forward and backward pass has at once, beyond those that were there."""
    images = rehearsal.images(model, batch, (128, 128))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        rehearsal.loss(model, images).backward()
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov8n-dattn.yaml"])
def test_what_is_kept_is_most_of_the_memory(name: str) -> None:
    """The estimate would leave out what an image takes, or count weights as if each image had its own."""
    d = host.load_yaml(name)
    with rehearsal.quiet():
        model = host.build(d)
        model.task = "detect"
        rehearsal.loss(model, rehearsal.images(model, 2, (128, 128)))
        kept = {}
        for batch in (2, 6):
            with memory.counted(model) as saved:
                rehearsal.loss(model, rehearsal.images(model, batch, (128, 128)))
            kept[batch] = saved.total()
        growth = peak(model, 6) - peak(model, 2)
    assert 0.85 < (kept[6] - kept[2]) / growth < 1.05
    weights = sum(p.nbytes for p in model.parameters())
    assert abs(3 * kept[2] - kept[6]) < 0.1 * weights  # nothing but the images


def test_too_large_a_batch() -> None:
    """Training would stop with too little memory, or the batch that is advised not fit either."""
    (found,) = findings(SOUND, batch=10_000_000)
    assert (found.level, found.check) == ("error", "memory")
    fitting = int(re.fullmatch(r"Take batch=(\d+)\.", found.do)[1])
    assert findings(SOUND, batch=int(0.9 * fitting)) == []  # other processes take and give memory meanwhile
    assert findings(SOUND, batch=int(1.1 * fitting)) != []


def test_attention_that_never_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preflight itself would be killed for lack of memory by what it is to find."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2**30}))
    ran = []
    monkeypatch.setattr("yolo_attn.inspection.training._step", lambda *given: ran.append(given))
    (found,) = findings(with_row("AllPairs"), imgsz=1280)
    assert (found.level, found.check, found.where) == ("error", "batch of 1", "row 5 (AllPairs)")
    assert "one image of 1280 pixels takes" in found.what and "imgsz=640" in found.do and not ran


# ----------------------------------------------------------------------------------------------------- export


def test_opset() -> None:
    """An export would stop, or be worse than it must, because of an opset."""
    model = with_row("DAttention")
    for opset in (12, 99):
        (found,) = findings(model, opset=opset)
        assert (found.level, found.check, found.where) == ("error", "export", "")
        assert f"opset={opset}" in found.what and found.do.startswith("Give opset=18")
    assert findings(with_row("Fourier"), opset=20)[-1].do.startswith("It trains all the same")
    assert findings(model, opset=14) == findings(model, opset=16) == findings(with_row("SE"), opset=12) == []


def test_a_failed_export_prints_nothing(capfd) -> None:
    """PyTorch would print thousands of lines of the model's graph between the findings."""
    findings(with_row("Fourier"))
    assert "graph(" not in "".join(capfd.readouterr())


# --------------------------------------------------------------------------------------------------- versions


def test_the_list_of_tried_releases() -> None:
    """It would call a release tried that the tests don't try."""
    newest = re.search(r"^ultralytics==(.*)$", (ROOT / ".ci" / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert [*VERSIONS[:-1], newest] == list(versions.TRIED) and VERSIONS[-1] == "newest"


@pytest.mark.parametrize(
    ("release", "level", "said"),
    [
        ("8.3.20", "ok", "was tried"),
        ("8.3.150", "ok", "8.3.100 and 8.3.200 were tried"),
        ("99.0.0", "ok", f"newer than {versions.TRIED[-1]}"),
        ("8.3.41", "error", "8.3.41 is not supported"),
        ("8.2.0", "error", "8.2.0 is not supported"),
    ],
)
def test_releases(release: str, level: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compromised or too old release would pass, or a new one be refused."""
    monkeypatch.setattr(host, "versions", lambda: {"ultralytics": release})
    found = [f for f in yolo_attn.preflight({**SOUND, "nc": None}) if f.check == "versions"]
    assert found[0].level == level and said in found[0].what


def test_a_start_without_the_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`yolo train` would end with an unknown module, after a preflight that found nothing."""
    monkeypatch.setenv("YOLO_ATTN_AUTOLOAD", "0")
    (found,) = findings(with_row("SE"))
    assert found.level == "warning" and "YOLO_ATTN_AUTOLOAD=0" in found.what and "yolo-attn train" in found.do
    monkeypatch.delenv("YOLO_ATTN_AUTOLOAD")
    venv.create(tmp_path / "venv")
    monkeypatch.setattr(sys, "executable", str(next(p for p in (tmp_path / "venv").rglob("python*") if p.is_file())))
    (found,) = findings(with_row("SE"))
    assert found.level == "warning" and "without the plugin" in found.what
    assert findings(SOUND) == []


# ------------------------------------------------------------------------------------------------ checkpoints


@needs_weights
def test_checkpoints(tmp_path: Path) -> None:
    """A checkpoint would be judged by random weights, or one whose weights have no place would pass."""
    weights = shutil.copy(WEIGHTS, tmp_path)
    yolo_attn.insert("yolov8n.yaml", "SE", "sppf", weights=weights, out=tmp_path / "my.pt")
    found = yolo_attn.preflight(tmp_path / "my.pt", imgsz=64, batch=2, device="cpu")
    assert {f.level for f in found} == {"ok"}
    fused = YOLO(weights)
    fused.model.fuse(verbose=False)
    fused.save(str(tmp_path / "fused.pt"))
    (found,) = findings(tmp_path / "fused.pt")
    assert (found.level, found.check) == ("warning", "build") and re.search(r"\d+ of the checkpoint's", found.what)


def test_checkpoints_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken file would end in a traceback; or a package that a checkpoint names be installed from anywhere."""
    (tmp_path / "cut.pt").write_text("cut")
    (found,) = findings(tmp_path / "cut.pt")
    assert (found.level, found.check) == ("error", "model") and "whole checkpoint" in found.do
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "layer.pt")
    (found,) = findings(tmp_path / "layer.pt")
    assert "no model that was built from a YAML" in found.what and "whole checkpoint" in found.do
    (tmp_path / "gone_package.py").write_text("class Gone: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import gone_package

    torch.save({"model": gone_package.Gone()}, tmp_path / "foreign.pt")
    monkeypatch.delitem(sys.modules, "gone_package")
    (tmp_path / "gone_package.py").unlink()
    monkeypatch.setattr("ultralytics.utils.checks.ONLINE", True)
    monkeypatch.setattr("subprocess.check_output", lambda *_, **__: pytest.fail("something was installed"))
    (found,) = findings(tmp_path / "foreign.pt")
    assert "needs 'gone_package'" in found.what and "Install it" in found.do
