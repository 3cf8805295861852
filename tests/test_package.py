"""The wheel, installed in a fresh environment, does what the checkout does and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command: object, **options) -> str:
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel by way of the source distribution, as a release is made."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def test_contents(wheel: Path) -> None:
    """A user's installation would lack a YAML, a patch or the start-up file, or have tests in it."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"yolo_attn/{p.relative_to(ROOT).as_posix()}" for part in ("cfg", "patches") for p in (ROOT / part).rglob("*.*")
    }
    expected = {n for n in expected if "__pycache__" not in n and "/autoload/" not in n and "generate.py" not in n}
    assert expected <= names
    assert {"_yolo_attn_autoload.py", "yolo_attn.pth", "yolo_attn.start", "yolo_attn/__init__.py"} <= names
    assert not {n for n in names if n.startswith(("tests", "cfg", "patches")) or "/autoload/" in n or "generate" in n}


def test_install_use_uninstall(wheel: Path, tmp_path: Path) -> None:
    """The installed package would need its checkout, or an uninstall would leave a start-up file behind."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = next(p for p in ((tmp_path / "venv").rglob("python*")) if p.name in ("python", "python.exe"))
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # torch and Ultralytics come from this environment, whose own start-up files are not read this way
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    files = lambda: {p.relative_to(site).as_posix() for p in site.rglob("*") if "__pycache__" not in p.parts}  # noqa: E731
    before = files()
    call(python, "-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = (
        "import ultralytics.nn.tasks as t, yolo_attn, yolo_attn.patches as p, sys; from ultralytics import YOLO; "
        "YOLO('yolov8s-dattn-neck.yaml'); from importlib.metadata import packages_distributions as d; "
        "print(*d()['yolo_attn'], yolo_attn.__file__, p.__file__)"
    )
    name, *found = call(python, "-c", code, cwd=tmp_path, env=environment).split()[-3:]
    assert name == "yolo-attn"  # which Ultralytics asks pip for, as yolo_attn, where a checkpoint's classes are missing
    assert all(Path(f).is_relative_to(site) for f in found)
    call(python, "-m", "pip", "uninstall", "--yes", "yolo-attn")
    assert files() == before
    assert call(python, "-c", "import sys; print(sys.meta_path)", cwd=tmp_path, env=environment).count("_Finder") == 0
