"""What the README says can be done."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import yolo_attn
from yolo_attn import catalogue

from .conftest import HOME, ROOT, SHARED
from .tiny import NAMES

README = (ROOT / "README.md").read_text(encoding="utf-8")
INLINE = [c for c in re.findall(r"`([^`\n]+)`", README) if re.match(r"(python -c|yolo-attn (list|info))", c)]
WEIGHTS = SHARED / "weights" / "yolov8n.pt"
BCCD = SHARED / "data" / "bccd"
TESTS = 'pip install -e ".[test]" && pytest'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.strip().splitlines()]
    assert TESTS in lines and TESTS.split(" && ")[0].split('"')[1] == ".[test]"
    # This very run is the test command; what installs was done for it.
    return [line.removeprefix("pip install -e . && ") for line in lines if line != TESTS] + INLINE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a video, the README's own module, and a model that names it as the README does."""
    writer = cv2.VideoWriter(str(tmp_path / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 96))
    for shade in range(0, 250, 25):
        writer.write(np.full((96, 96, 3), shade, np.uint8))
    writer.release()
    (tmp_path / "my_gates.py").write_text(blocks("python")[-1])
    row = re.search(r"`(\[-1, 1, my_gates.Gate.*?\])`", README)[1]
    yolo_attn.insert("yolov8n.yaml", "SE", "sppf", mode="plain", out=tmp_path / "my.yaml")
    text = (tmp_path / "my.yaml").read_text()
    assert "[-1, 1, SE, []]" in text
    (tmp_path / "my.yaml").write_text(text.replace("[-1, 1, SE, []]", row))
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_command(command: str, folder: Path) -> None:
    """A command of the README would not work."""
    if command.startswith("PYTHONPATH=") and os.name == "nt":
        pytest.skip("the shell of Windows sets variables in another way")
    if "yolov8n.pt" in command:
        if not WEIGHTS.exists():
            pytest.skip("needs the checkpoint of the shared folder, which Ultralytics would download")
        shutil.copy(WEIGHTS, folder)
    if "bccd" in command:
        if not BCCD.exists():
            pytest.skip("needs the blood cells of the shared folder")
        shutil.copytree(BCCD, folder / "bccd")  # Ultralytics writes caches beside the labels
        command = re.sub(r"(seeds|epochs)=\d+", r"\1=1", command).replace("imgsz=320", "imgsz=32 fraction=0.1")
        command = re.sub(r"(models=yolov8n.yaml,yolov8n-dattn.yaml)\S*", r"\1", command)
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    cwd = ROOT if "cfg/" in command else folder
    done = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if command.startswith("yolo train") and "pretrained=" in command:
        line = re.search(r"^Transferred 355/355 tensors from yolov8n.pt; (.*)$", README, re.MULTILINE)
        assert line[1] in done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, tmp_path: Path) -> None:
    """The lines of Python would not run."""
    (tmp_path / "use.py").write_text(code)
    done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rows() -> None:
    """A row of the README would not build."""
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    head = "".join(f"  {line}\n" for line in blocks("yaml")[0].strip().splitlines()).replace("[-1, 6]", "[-1, -2]")
    path = HOME / "readme.yaml"
    path.write_text(f"nc: 1\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\nhead:\n{head}  - [[2], 1, Detect, [nc]]\n")
    DetectionModel(YAML.load(path) if hasattr(YAML, "load") else str(path), verbose=False)


def test_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module would be missing from the README, or be described there as it once was."""
    ours = {name: yolo_attn.get(name) for name in NAMES}  # other tests register modules too
    monkeypatch.setattr(yolo_attn.registry, "_specs", ours)
    assert catalogue.markdown() in README
    assert runpy.run_path(str(ROOT / "cfg" / "generate.py"))["table"]() in README


def test_comparison(tmp_path: Path) -> None:
    """The comparison in the README would not be what its results say, or not come from the command above it."""
    shutil.copytree(ROOT / "docs" / "bccd", tmp_path / "bccd")
    (tmp_path / "bccd" / "summary.md").unlink()
    yolo_attn.report(tmp_path / "bccd")
    said = (tmp_path / "bccd" / "summary.md").read_text(encoding="utf-8")
    assert said == (ROOT / "docs" / "bccd" / "summary.md").read_text(encoding="utf-8")
    parts = [part.strip("`\n") for part in said.split("\n\n")]
    assert [part for part in parts if not part.startswith("#") and part not in README] == []
    assert "docs/bccd/summary.png" in README


def test_ci_runs_the_readme() -> None:
    """CI would test something else than the README promises."""
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
