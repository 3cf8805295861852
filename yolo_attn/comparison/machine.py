"""Where the runs of a comparison are done: the processor, and how many runs have room side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """Where runs are done.

    Attributes:
        kind: Name of the processor, for the record: runs on different ones must not be compared.
        device: What Ultralytics is told; "" for the one GPU that a run's process sees.
        here: Device of this process that is of the same kind, for measurements.
        threads: CPU threads of a run; 0 leaves them to Ultralytics.
        places: What each of several runs side by side has to itself, as environment variables.
    """

    kind: str
    device: str
    here: str
    threads: int
    places: tuple[dict[str, str], ...]


def machine(device: str | int | Sequence[int] | None, jobs: int | None, threads: int | None) -> Machine:
    """This machine, as the arguments of `compare` ask for it.

    Raises:
        ValueError: If there is no such device, or a number is not positive.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(
                f"{name}: a number of at least 1 is needed, got {value!r}. Leave it out, or write {name}=1."
            )
    asked = ",".join(map(str, device)) if isinstance(device, (list, tuple)) else "" if device is None else str(device)
    if asked in ("cpu", "mps") or (not asked and not torch.cuda.is_available()):
        where = asked or "cpu"
        threads = threads or (0 if where == "mps" else 1)
        room = max(cores() // threads, 1) if where == "cpu" else 1
        place = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        return Machine(where, where, where, threads, (place,) * (jobs or room))
    gpus = (asked or "0").replace(" ", "").split(",")
    count = torch.cuda.device_count()
    if not all(gpu.isdigit() and int(gpu) < count for gpu in gpus):
        raise ValueError(
            f"device: numbers of GPUs below {count}, or cpu, are needed, got {device!r}. Write device=cpu."
        )
    kinds = {torch.cuda.get_device_name(int(gpu)) for gpu in gpus}
    if len(kinds) > 1:
        raise ValueError(f"device: GPUs of one kind are needed, got {', '.join(sorted(kinds))}. Leave out the others.")
    # What this process sees as GPU 0 may be another one of the machine
    seen = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))).split(",")
    places = tuple({"CUDA_VISIBLE_DEVICES": seen[int(gpus[i % len(gpus)])].strip()} for i in range(jobs or len(gpus)))
    return Machine(kinds.pop(), "", f"cuda:{gpus[0]}", threads or 0, places)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
