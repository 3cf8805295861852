"""Comparison of models over seeds: `yolo_attn.compare` and `yolo_attn.report`."""

from __future__ import annotations

import inspect
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BACKENDS = ("local", "ray")
POOLED = "pooled"


def report(*folders: str | Path, out: str | Path | None = None) -> list[dict[str, Any]]:
    """Draw comparisons anew from their result folders alone; of several, data sets say, also all together.

    Args:
        *folders: Result folders, runs/compare/<name>.
        out: Folder for what is drawn; by default the result folder itself, or for several together `pooled` beside
            the first one.

    Returns:
        The summary of one folder as `compare` returns it; of several, one row per model that all have.

    Raises:
        FileNotFoundError: If a folder holds no comparison.
        ValueError: If several have no baseline or no model in common.
    """
    from .render import write, write_pooled

    if not folders:
        raise ValueError("a result folder must be given, such as runs/compare/my. Give one or several.")
    if len({Path(folder).resolve() for folder in folders}) < len(folders):
        raise ValueError("a result folder is given twice, and would count twice. Give it once.")
    given = [Path(folder) for folder in folders]
    paths = [path for path in given if not _is_pooled(path)] or given  # runs/compare/* means the pooled one too
    if len(paths) == 1:
        return write(paths[0], Path(out) if out else None)[1]
    found = [write(path)[0] for path in paths]
    return write_pooled(found, Path(out or paths[0].parent / POOLED))


def compare(
    models: str | Sequence[str],
    data: str | Path,
    pretrained: str | Path | None = None,
    seeds: int = 5,
    control: bool | str | Sequence[str] = False,
    test: str | None = None,
    project: str = "runs/compare",
    name: str | None = None,
    backend: str = "local",
    address: str = "auto",
    device: str | int | Sequence[int] | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    resume: bool = False,
    **train: Any,
) -> list[dict[str, Any]]:
    """Train models on the same footing over several seeds, and compare their mAP with the first one's.

    Every run has the same recipe, pretrained weights and number of threads, and its last checkpoint is measured. The
    same call goes on where it was interrupted. Results lie in project/name: results.csv, summary.md, pictures, weights.

    Args:
        models: Model YAMLs, the baseline first: yolov8n.yaml,yolov8n-dattn.yaml.
        data: YAML of the data set. The score is the mean over its val and test splits, where it has both.
        pretrained: Checkpoint (.pt) whose weights all models start from; without it from random ones.
        seeds: Number of seeds: 5 trains every model with the seeds 0 to 4.
        control: Whether each candidate gets a control, a plain convolution block of equal size in the place of the
            attention; or the names of the candidates that do.
        test: The one candidate that was asked about beforehand: its p-value is not corrected for the others.
        project: Folder of comparisons.
        name: Folder of this one in it; that of the data set's YAML by default.
        backend: "local" for processes of this machine, "ray" for a Ray cluster (`pip install yolo-attn[ray]`).
        address: Of the Ray cluster.
        device: GPUs of the local backend, one run on each (0,1), or cpu.
        jobs: Runs side by side, by default one per GPU, or as many as the CPU has cores for.
        threads: CPU threads of a run; 1 by default on the CPU, where runs side by side use the cores best.
        resume: Whether interrupted runs go on from their last epoch, which makes them other runs than those that were
            not interrupted; they are marked.
        **train: Arguments of `yolo train` for all runs: epochs, imgsz, batch, lr0 and so on.

    Returns:
        The summary, one row per model.

    Raises:
        ValueError, TypeError, FileNotFoundError: If an argument is not possible, before anything runs.
        BlockingIOError: If another process works on the same results.
    """
    given = locals()
    from . import local, on_ray, results
    from .machine import machine
    from .plan import plan
    from .render import write
    from .run import measure_latency, run

    if name == POOLED:
        raise ValueError(f"name: {POOLED} is the folder of several comparisons together. Give another name.")
    if backend == "ray" and resume:
        raise ValueError("resume: what a lost worker had is lost with it. Leave it out with backend=ray.")
    if backend not in BACKENDS:
        raise ValueError(f"backend: one of {', '.join(BACKENDS)} is needed, got {backend!r}. Write backend=local.")
    on = on_ray.connect(address, device, jobs, threads) if backend == "ray" else machine(device, jobs, threads)
    execute = on_ray.execute if backend == "ray" else local.execute
    planned = plan(models, data, pretrained, seeds, control, test, on, train)
    folder = Path(project, name or Path(data).stem).resolve()
    with results.locked(folder):
        results.claim(
            folder, {"command": _command(given), **planned.as_dict()}, {arm.name: arm.yaml for arm in planned.arms}
        )
        run(planned, folder, execute, resume)
        measure_latency(planned, folder)
        return write(folder)[1]


def _is_pooled(folder: Path) -> bool:
    return folder.name == POOLED and not (folder / "args.yaml").exists() and (folder / "summary.md").exists()


def _command(given: dict[str, Any]) -> str:
    """The command line of a call, without what has its default; the number of seeds always belongs to it."""
    defaults = {name: p.default for name, p in inspect.signature(compare).parameters.items()}
    named = {
        name: value for name, value in given.items() if name != "train" and (name == "seeds" or value != defaults[name])
    }
    parts = [f"{name}={_plain(value)}" for name, value in {**named, **given["train"]}.items()]
    return f"yolo-attn compare {subprocess.list2cmdline(parts) if os.name == 'nt' else shlex.join(parts)}"


def _plain(value: Any) -> str:
    """A value as it is written on a command line."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
