"""The tests of the hook on other versions of Ultralytics, whose wheels are unpacked in front of the installed one."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tabulate import tabulate

from .conftest import ROOT

VERSIONS = ["8.3.20", "8.3.100", "8.3.200", "8.4.0", "8.4.100", "newest"]
FILE = ROOT / "docs" / "versions.md"
COLUMNS = ("Ultralytics", "PyTorch", "NumPy", "Python", "date", "passed", "skipped")
COMMAND = "YOLO_ATTN_WRITE=1 pytest -m slow tests/test_versions.py"
TEXT = f"""# Versions of Ultralytics that were tried

Tests of the hook (`tests/host`): models build, weights follow their layers, one epoch is trained, by one process and by
two, and a fresh process loads the result. None failed. The last version was the newest on its date. Written by
`{COMMAND}`.

"""


def document(rows: Sequence[Sequence[str]]) -> str:
    """The file that says what was tried, from a row for each version."""
    return f"{TEXT}{tabulate(rows, COLUMNS, tablefmt='github', disable_numparse=True)}\n"


@pytest.fixture(scope="module")
def tried() -> Iterator[list[list[str]]]:
    """Rows of versions that passed; written down when asked for, and when all did."""
    rows: list[list[str]] = []
    yield rows
    if os.environ.get("YOLO_ATTN_WRITE") and len(rows) == len(VERSIONS):
        FILE.write_text(document(rows), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_hook(version: str, tried: list[list[str]], tmp_path: Path) -> None:
    """A supported Ultralytics would not build or train the models, find the YAMLs or load the checkpoints."""
    wanted = "ultralytics" if version == "newest" else f"ultralytics=={version}"
    # Old releases import pandas at their start, which they declared then and today's doesn't, and call what NumPy 2.4
    # no longer has.
    download = ["pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), wanted, "pandas", "numpy<2.4"]
    fetched = subprocess.run([sys.executable, "-m", *download], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"no registry: {fetched.stderr.strip().splitlines()[-1]}")
    for wheel in tmp_path.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    names = "ultralytics.__file__, ultralytics.__version__, torch.__version__, numpy.__version__"
    found = [sys.executable, "-c", f"import numpy, torch, ultralytics; print({names}, sep='\\n')"]
    where, *versions = subprocess.run(found, env=environment, capture_output=True, text=True).stdout.splitlines()[-4:]
    assert str(tmp_path) in where and version in ("newest", versions[0])
    options = ["-q", "-m", "slow or not slow", "-p", "no:cacheprovider"]
    pytest_run = [sys.executable, "-m", "pytest", *options, str(ROOT / "tests" / "host")]
    done = subprocess.run(pytest_run, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
    summary = next(line for line in reversed(done.stdout.splitlines()) if re.search(r"\d+ passed", line))
    counts = [sum(map(int, re.findall(rf"(\d+) {what}", summary))) for what in COLUMNS[-2:]]
    tried.append([*versions, platform.python_version(), datetime.date.today().isoformat(), *map(str, counts)])


def test_what_was_tried() -> None:
    """The file would promise versions that were not tried, be written by hand, or not be what the README points to."""
    text = FILE.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"][2:]
    assert text == document(rows)
    versions = [row[0] for row in rows]
    assert versions[:-1] == VERSIONS[:-1]
    ordered = [tuple(map(int, version.split("."))) for version in versions]
    assert ordered == sorted(set(ordered))
    assert all(datetime.date.fromisoformat(row[4]) and int(row[5]) > 100 for row in rows)
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Versions")[2].partition("\n## ")[0]
    assert all(version in readme for version in VERSIONS[:-1]) and "docs/versions.md" in readme
