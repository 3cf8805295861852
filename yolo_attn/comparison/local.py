"""Runs on this machine: as many processes side by side as there are places for, all of which die with this one."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .machine import Machine
from .train import Job
from .worker import failed

Outcome = tuple[Job, dict[str, Any]]
GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # what Windows has in the place of sessions


def execute(jobs: Sequence[Job], folders: Sequence[Path], machine: Machine) -> Iterator[Outcome]:
    """Do runs in processes of their own and yield their rows as they finish.

    Args:
        jobs: The runs, in the order in which they begin.
        folders: The folder of each.
        machine: Its places tell how many run side by side.

    Yields:
        The job and its row of results.csv; of a run that failed, status and reason.
    """
    free: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
    for place in machine.places:
        free.put(place)
    processes: list[subprocess.Popen] = []
    stopped = threading.Event()

    def run(job: Job, folder: Path) -> dict[str, Any]:
        place = free.get()
        try:
            process, log = _start(job, folder, place)
            processes.append(process)
            if stopped.is_set():
                process.kill()
            return _result(job, folder, process.wait(), log)
        finally:
            free.put(place)

    pool = ThreadPoolExecutor(len(machine.places))
    try:
        futures = {pool.submit(run, job, folder): job for job, folder in zip(jobs, folders, strict=True)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(processes):
            process.kill()
        pool.shutdown()


def _start(job: Job, folder: Path, place: dict[str, str]) -> tuple[subprocess.Popen, Path]:
    """Begin a run in a process, whose output goes to a log beside the folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", f"{__package__}.worker", str(folder)]
    with open(log, "ab" if job.resume else "wb") as out:
        process = subprocess.Popen(  # a session of its own, so that Ctrl-C reaches this process alone
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, **place},
            start_new_session=True,
            creationflags=GROUP,
        )
    with suppress(OSError):  # it is gone already, which Windows calls an invalid argument; its exit status says why
        assert process.stdin is not None  # stays open: its end tells the process that this one is gone
        process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        process.stdin.flush()
    return process, log


def _result(job: Job, folder: Path, code: int, log: Path) -> dict[str, Any]:
    """The row that a process left, or what is known of its end."""
    path = folder / "result.json"
    if code == 0:
        return json.loads(path.read_text(encoding="utf-8"))
    killed = ", killed, maybe for want of memory" if code == -9 else ""
    return failed(job, f"its process ended with {code}{killed}; see {log}")
