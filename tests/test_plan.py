"""Mistakes in the arguments of a comparison are told before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import yolo_attn
from yolo_attn import document
from yolo_attn.cli.arguments import keywords

GIVEN: dict[str, Any] = {"models": "yolov8n.yaml,yolov8n-se.yaml", "data": "shapes.yaml", "epochs": 1, "imgsz": 64}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": 3}, ValueError, "seed is not yours to set here: .* Did you mean seeds?"),
        ({"epoch": 3}, ValueError, "there is no argument 'epoch'. Did you mean epochs"),
        ({"patience": 3}, ValueError, "patience is not yours"),
        ({"save": False}, ValueError, "save is not yours"),
        ({"exist_ok": True}, ValueError, "exist_ok is not yours"),
        ({"time": 1}, ValueError, "time is not yours"),
        ({"batch": -1}, ValueError, "batch: one number for all models"),
        ({"imgsz": [64, 32]}, ValueError, "imgsz"),
        ({"imgsz": 0}, ValueError, "imgsz: one number of at least 32"),
        ({"name": "pooled"}, ValueError, "name: pooled is the folder of several"),
        ({"backend": "ray", "resume": True}, ValueError, "resume: .*Leave it out with backend=ray"),
        ({"models": "yolov8n.yaml, yolov8n-se.yaml,yolov8n-gct.yaml", "test": "se,gct"}, ValueError, "Give one."),
        ({"epochs": "many"}, ValueError, "epochs"),
        ({"seeds": 0}, ValueError, "seeds: a number of at least 1 is needed, got 0"),
        ({"seeds": True}, ValueError, "seeds: a number"),
        ({"jobs": 0}, ValueError, "jobs: a number of at least 1"),
        ({"threads": "two"}, ValueError, "threads: a number of at least 1"),
        ({"backend": "slurm"}, ValueError, "backend: one of local, ray is needed, got 'slurm'"),
        ({"device": "0,99"}, ValueError, "device: numbers of GPUs below"),
        ({"models": "yolov8n.yaml"}, ValueError, "a baseline and at least one candidate"),
        ({"models": "yolov8n.yaml,yolov8n.pt"}, ValueError, "a model YAML is needed, got yolov8n.pt"),
        ({"models": "yolov8n.yaml,yolov8n.yaml"}, ValueError, "two are called yolov8n"),
        ({"models": "yolov8n.yaml,yolov8n-sse.yaml"}, FileNotFoundError, "Did you mean yolov8-se.yaml"),
        (
            {"models": "yolov8n.yaml,yolov8n-seg.yaml"},
            ValueError,
            r"one task, got yolov8n \(detect\), yolov8n-seg \(seg",
        ),
        ({"models": "yolov8n-cls.yaml,yolov8s-cls.yaml"}, ValueError, "mAP is compared, of the tasks detect"),
        ({"data": "shapess.yaml"}, FileNotFoundError, "data: shapess.yaml: .*Did you mean shapes.yaml"),
        ({"data": None}, ValueError, "data: the YAML of a data set is needed"),
        ({"pretrained": "none/such.pt"}, FileNotFoundError, "pretrained: there is no checkpoint none/such.pt"),
        ({"pretrained": True}, ValueError, r"a checkpoint \(.pt\) is needed, got True"),
        ({"test": "sse"}, ValueError, "test: there is no candidate 'sse'. Did you mean se?"),
        ({"control": "gct"}, ValueError, "control: there is no candidate 'gct'"),
        ({"models": "yolov8n.yaml,yolov8s.yaml", "control": True}, ValueError, "control: .*yolov8s"),
    ],
)
def test_bad_arguments(
    change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours would be spent before a mistake shows, or it would be told in riddles."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as raised:
        yolo_attn.compare(**{**GIVEN, **change})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Residual, [DAttention, {num_heads: 7}]", "num_heads"),
        ("nn.Conv2d, [7, 7, 1]", "channels"),  # fails when it runs
        ("nn.MultiheadAttention, [10, 3]", "embed_dim must be divisible"),  # a bare assert
    ],
)
def test_a_model_that_does_not_build(row: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken candidate would be found after the runs of all others, or end in a traceback."""
    monkeypatch.chdir(tmp_path)
    text = document.dump(yolo_attn.insert("yolov8n.yaml", "DAttention", "sppf"))
    assert "Residual, [DAttention]" in text
    (tmp_path / "yolov8n-mine.yaml").write_text(text.replace("Residual, [DAttention]", row))
    with pytest.raises(ValueError, match=f"models: yolov8n-mine: .*{message}") as raised:
        yolo_attn.compare(**{**GIVEN, "models": "yolov8n.yaml,yolov8n-mine.yaml"})
    assert "\n" not in str(raised.value) and not (tmp_path / "runs").exists()


def test_values_of_a_command_line() -> None:
    """A name that looks like a number or a date would be one; or an empty value would end in a traceback."""
    given = keywords(
        yolo_attn.compare, ["models=a.yaml,b.yaml", "data=1.yaml", "name=2026-11-21", "control=a,b", "lr0=1e-3"]
    )
    assert given["name"] == "2026-11-21" and given["control"] == ["a", "b"] and given["lr0"] == 0.001
    assert keywords(yolo_attn.compare, ["models=a", "data=b", "name=007", "pretrained=false"])["pretrained"] is False
    with pytest.raises(ValueError, match="epochs has no value"):
        keywords(yolo_attn.compare, ["models=a", "data=b", "epochs="])
