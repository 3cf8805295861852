"""`yolo-attn compare backend=ray` on a real cluster of two workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .comparison import COMMAND, MODELS, RECIPE, prepare, rows, weights

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes, each with room for one run."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def runs() -> list[psutil.Process]:
    """Ray's processes that do a run now."""
    return [p for p in psutil.process_iter(["cmdline"]) if "ray::_task" in " ".join(p.info["cmdline"] or ())]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray has clusters of several nodes on Linux alone")
def test_a_lost_worker(address: str, tmp_path: Path) -> None:
    """Runs on a cluster would give other results than here, or a run whose worker is lost would be missing."""
    prepare(tmp_path)
    command = [*COMMAND, f"models={MODELS}", *RECIPE]
    local = subprocess.run([*command, "name=here"], cwd=tmp_path, capture_output=True, text=True)
    assert local.returncode == 0, local.stdout + local.stderr
    remote = subprocess.Popen(
        [*command, "name=there", "backend=ray", f"address={address}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killed = None
    while remote.poll() is None:
        found = runs()
        if killed is None and found and time.time() - found[0].create_time() > 2:
            killed = found[0].pid
            found[0].kill()
        time.sleep(0.05)
    assert remote.returncode == 0, remote.stdout.read() if remote.stdout else ""
    assert killed
    here, there = tmp_path / "runs/compare/here", tmp_path / "runs/compare/there"
    assert rows(there) == rows(here) and len(rows(here)) == 4
    assert weights(there) == weights(here) and len(weights(here)) == 4


def test_no_cluster(tmp_path: Path) -> None:
    """A cluster that isn't there would be waited for, or told in a traceback."""
    prepare(tmp_path)
    command = [*COMMAND, f"models={MODELS}", *RECIPE, "backend=ray", "address=127.0.0.1:1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "address: there is no Ray cluster at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "runs").exists()
