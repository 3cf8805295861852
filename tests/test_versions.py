"""The tests of the hook on other versions of Ultralytics, whose wheels are unpacked in front of the installed one."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = ["8.3.20", "8.3.100", "8.3.200", "8.4.0", "8.4.100", "newest"]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_hook(version: str, tmp_path: Path) -> None:
    """A supported Ultralytics would not build the models, find the YAMLs or load the checkpoints."""
    wanted = "ultralytics" if version == "newest" else f"ultralytics=={version}"
    # Old releases import pandas at their start, which they declared then and today's doesn't, and call what NumPy 2.4
    # no longer has.
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(tmp_path),
        wanted,
        "pandas",
        "numpy<2.4",
    ]
    fetched = subprocess.run(download, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"no registry: {fetched.stderr.strip().splitlines()[-1]}")
    for wheel in tmp_path.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = [sys.executable, "-c", "import ultralytics; print(ultralytics.__file__, ultralytics.__version__)"]
    where = subprocess.run(found, env=environment, capture_output=True, text=True).stdout
    assert str(tmp_path) in where and (version == "newest" or where.split()[-1] == version)
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "host")]
    done = subprocess.run(pytest_run, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
