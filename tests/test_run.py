"""One run of a comparison, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from yolo_attn.patches import host

from yolo_attn.comparison import train

from .comparison import LABEL, data_set


def job(data: str, **more: Any) -> train.Job:
    """A run of one short epoch."""
    recipe = {"epochs": 1, "imgsz": 32, **more}
    text = yaml.safe_dump({k: v for k, v in host.load_yaml("yolov8n.yaml").items() if k != "yaml_file"})
    return train.Job("yolov8n", 0, text, recipe, data, ("val",), device="cpu", threads=1)


def test_images_of_one_name(tmp_path: Path) -> None:
    """A run would fail after its training, where images of one name lie in several folders; or classes are one."""
    data = data_set(tmp_path / "data", train={"0": LABEL, "1": LABEL}, val={"v1/7": LABEL, "v2/007": LABEL})
    row = train.train(job(data, single_cls=True), tmp_path / "run")
    assert row["status"] == "ok" and 0 <= row["mAP50-95"] <= 1 and row["peak_mib"] > 0
    assert {name for name in row if "mAP50-95/" in name} <= {"val/mAP50-95/item"}
    assert np.load(tmp_path / "run" / "bootstrap.npz").files == []


def test_a_smaller_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest model would be trained with a smaller batch than the others, after it ran out of memory."""
    data = data_set(tmp_path / "data", train={"0": LABEL, "1": LABEL}, val={"0": LABEL})
    monkeypatch.setitem(train.DEFAULT_CFG_DICT, "batch", 32)
    with pytest.raises(train.RunFailed, match="out of memory with batch=32"):
        train.train(job(data), tmp_path / "run")


def test_what_a_run_starts_has_no_part_in_its_pipe(tmp_path: Path) -> None:
    """On Windows a process that a run starts, such as a loader's worker, would wait for the run's own read to end."""
    code = (
        "import os, stat; from yolo_attn.comparison import worker; "
        "worker.attempt = lambda job, folder: folder.mkdir() or {'pipe': stat.S_ISFIFO(os.fstat(0).st_mode)}; "
        "worker.main()"
    )
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE) as process:
        process.stdin.write(json.dumps(asdict(job("data.yaml"))).encode() + b"\n")
        process.stdin.flush()
        assert process.wait() == 0
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == {"pipe": False}
