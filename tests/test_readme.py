"""What the README says can be done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_attn.cli import table

from .conftest import HOME, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
INLINE = [c for c in re.findall(r"`([^`\n]+)`", README) if re.match(r"(python -c|yolo-attn modules)", c)]
TESTS = 'pip install -e ".[test]" && pytest'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.strip().splitlines()]
    assert TESTS in lines and TESTS.split(" && ")[0].split('"')[1] == ".[test]"
    # This very run is the test command; what installs was done for it.
    return [line.removeprefix("pip install -e . && ") for line in lines if line != TESTS] + INLINE


@pytest.mark.parametrize("command", commands())
def test_command(command: str) -> None:
    """A command of the README would not work."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_python(tmp_path: Path) -> None:
    """The lines of Python would not run, or one's own module not be found by its full name."""
    use, own = blocks("python")
    (tmp_path / "my_gates.py").write_text(own)
    (tmp_path / "use.py").write_text(use)
    stock = "nc: 1\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\nhead:\n  - ROW\n  - [[1], 1, Detect, [nc]]\n"
    row = re.search(r"`(\[-1, 1, my_gates.Gate.*?\])`", README)[1]
    (tmp_path / "mine.yaml").write_text(stock.replace("ROW", row))
    (tmp_path / "own.py").write_text("from ultralytics import YOLO\nprint(YOLO('mine.yaml').model.model[1])\n")
    for script in ("use.py", "own.py"):
        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "Gate(" in done.stdout


def test_rows() -> None:
    """A row of the README would not build."""
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    head = "".join(f"  {line}\n" for line in blocks("yaml")[0].strip().splitlines()).replace("[-1, 6]", "[-1, -2]")
    path = HOME / "readme.yaml"
    path.write_text(f"nc: 1\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\nhead:\n{head}  - [[2], 1, Detect, [nc]]\n")
    DetectionModel(YAML.load(path) if hasattr(YAML, "load") else str(path), verbose=False)


def test_table() -> None:
    """A module would be missing from the README, or be described there as it once was."""
    assert table() in README
    assert {p.name for p in (ROOT / "cfg").glob("*.yaml")} == set(re.findall(r"yolov8-[\w-]+\.yaml", README))


def test_ci_runs_the_readme() -> None:
    """CI would test something else than the README promises."""
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
