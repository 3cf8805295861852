"""What all tests share: one tolerance table, and a home of their own for Ultralytics' settings and data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
HOME = Path(tempfile.mkdtemp(prefix="yolo-attn-tests-"))
(HOME / "Ultralytics").mkdir()
os.environ["YOLO_CONFIG_DIR"] = str(HOME / "Ultralytics")  # before Ultralytics is imported, here and in child processes
os.environ["YOLO_OFFLINE"] = "true"
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread for each of several processes, and for those that they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

TOLERANCE = {  # relative and absolute
    torch.float64: {"rtol": 1e-7, "atol": 1e-7},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    "graph": {"rtol": 1e-4, "atol": 1e-4},  # of a module, in another order of operations
    "rounding": {"rtol": 1e-4, "atol": 1e-4},  # of a whole model, in another order of operations
    torch.bfloat16: {"rtol": 5e-2, "atol": 5e-2},  # 8 bits of mantissa, through three layers
}

EXPORTS = 1e-4  # of the largest value
HALF_PRECISION = {"mAP": 0.005, "maps": 0.01}  # of a whole model; maps by standard deviation: yolov8n itself has 0.004


def script(name: str) -> str:
    """The path of a command of this environment, such as yolo."""
    return sys.executable if name == "python" else shutil.which(name, path=sysconfig.get_path("scripts")) or name


ALIKE = "coordatt|eca|ema|gam|gc|mhsa|shuffle|simam|triplet"  # YAMLs with one row, a gate or attention, after SPPF


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave YAMLs like yolov8-se.yaml and yolov8-cbam.yaml to the slow tests: the contract has their rows."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        values = [str(value) for value in callspec.params.values()] if callspec and item.path.stem != "test_cfg" else []
        if any(re.fullmatch(rf"(yolov8-)?({ALIKE})(\.yaml)?", value) for value in values):
            item.add_marker("slow")


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def run(tmp_path):
    """Run a command as a user in a fresh directory: run("yolo", "train", ...) -> CompletedProcess with text output."""

    def call(
        *command: str, check: bool = True, cwd: Path = tmp_path, **environment: str
    ) -> subprocess.CompletedProcess:
        done = subprocess.run(
            (script(command[0]), *command[1:]),
            cwd=cwd,
            env={**os.environ, **environment},
            text=True,
            capture_output=True,
            encoding="utf-8",
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    return call


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    """What a test registers is gone behind it: whichever test follows doesn't find it."""
    from yolo_attn import registry

    specs, listeners = dict(registry._specs), [*registry._listeners]
    yield
    registry._specs.clear()
    registry._specs.update(specs)
    registry._listeners[:] = listeners


@pytest.fixture(scope="session", autouse=True)
def settings() -> None:
    """Ultralytics keeps data sets in the tests' own folder."""
    from ultralytics import settings
    from ultralytics.data import utils

    utils.DATASETS_DIR = HOME / "datasets"  # was read from the settings at import
    settings.update({"datasets_dir": str(HOME / "datasets"), "runs_dir": str(HOME / "runs"), "sync": False})
