"""Runs on a Ray cluster: one task each, which Ray places, and tries again where a worker is lost."""

from __future__ import annotations

import dataclasses
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from . import worker
from .local import Outcome
from .machine import Machine
from .train import KEPT, Job

SECONDS = 10  # until a cluster that doesn't answer is none
RETRIES = 3  # of a run whose worker is lost


def connect(address: str, device: Any, jobs: int | None, threads: int | None) -> Machine:
    """Connect to a cluster: a run gets one GPU where the cluster has some, else CPU threads.

    Raises:
        ValueError: If Ray isn't installed, there is no cluster, or an argument is not for clusters.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("backend=ray needs Ray. Install it: pip install yolo-attn[ray].") from None
    if jobs is not None:
        raise ValueError(f"jobs: the Ray cluster places the runs, got {jobs}. Leave it out.")
    if device not in (None, "cpu"):
        raise ValueError(f"device: the Ray cluster chooses the GPU, got {device!r}. Leave it out, or write device=cpu.")
    if not ray.is_initialized():
        try:
            _knock(address)
            ray.init(address, log_to_driver=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"address: there is no Ray cluster at {address}: {error}. Start one with `ray start --head`."
            ) from error
    gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    if gpus:
        return Machine("GPUs of a Ray cluster", "", "cuda" if torch.cuda.is_available() else "cpu", threads or 0, ())
    return Machine("cpu", "cpu", "cpu", threads or 1, ())


def _knock(address: str) -> None:
    """See that something listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), SECONDS).close()


def execute(jobs: Sequence[Job], folders: Sequence[Path], machine: Machine) -> Iterator[Outcome]:
    """Do runs as tasks; as `local.execute`, but that the cluster has the places.

    The data set must be where its YAML says on every node; the checkpoint is sent along.
    """
    import ray

    need: dict[str, Any] = {"num_cpus": machine.threads or 1, "num_gpus": 0 if machine.device == "cpu" else 1}
    # Every run has a process of its own, as on one machine: max_calls ends it afterwards
    task = ray.remote(**need, max_retries=RETRIES, max_calls=1, scheduling_strategy="SPREAD")(_task)
    sent: dict[str, Any] = {path: ray.put(Path(path).read_bytes()) for path in {job.pretrained for job in jobs} if path}
    waiting = {
        task.remote(job, sent.get(job.pretrained)): (job, folder) for job, folder in zip(jobs, folders, strict=True)
    }
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job, folder = waiting.pop(done)
            yield job, _received(done, job, folder)
    finally:
        for each in waiting:
            ray.cancel(each, force=True)


def _task(job: Job, weights: bytes | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A run on a node: its row, and the files that stay of it."""
    with tempfile.TemporaryDirectory() as temporary:
        if weights is not None:
            path = Path(temporary, Path(job.pretrained).name)
            path.write_bytes(weights)
            job = dataclasses.replace(job, pretrained=str(path))
        folder = Path(temporary, "run")
        row = worker.attempt(job, folder)
        return row, {name: (folder / name).read_bytes() for name in KEPT if (folder / name).exists()}


def _received(done: Any, job: Job, folder: Path) -> dict[str, Any]:
    """The row of a finished task, whose files go into a folder."""
    import ray

    try:
        row, files = ray.get(done)
    except ray.exceptions.RayError as error:
        return worker.failed(job, error)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return row
