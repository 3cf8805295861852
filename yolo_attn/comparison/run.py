"""Do the runs that a comparison still lacks."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ultralytics.cfg import DEFAULT_CFG_DICT
from ultralytics.utils import LOGGER

from .. import log
from ..measure import latency
from . import results
from .ap import SIZES
from .datasets import headings
from .plan import Arm, Plan
from .progress import progress
from .train import KEPT, SCORES, Job
from .worker import lock_of

SECONDS = 5  # of measuring the latency, per model


def run(plan: Plan, folder: Path, execute: Any, resume: bool) -> list[results.Row]:
    """Do what is missing in a result folder, which the caller has locked, and append it there.

    Args:
        plan: The comparison.
        folder: The result folder.
        execute: The backend, `local.execute` or its like.
        resume: Whether interrupted runs go on from their last epoch.

    Returns:
        The rows of all runs of the plan, failed ones too.
    """
    known = results.read(folder)
    jobs = [_job(plan, arm, seed, resume) for seed in range(plan.seeds) for arm in plan.arms]  # so that all arms grow
    todo = [job for job in jobs if known.get((job.model, job.seed), {}).get("status") != "ok"]
    columns = _columns(plan)
    parts = [_part(folder, job) for job in todo]
    epochs = plan.train.get("epochs", DEFAULT_CFG_DICT["epochs"])
    with progress(parts, epochs, len(jobs) - len(todo)) as ended:
        for job, row in execute(todo, parts, plan.machine):
            ended(_part(folder, job), f"{job.model} seed {job.seed}: {row.get('mAP50-95', 'failed')}")
            if row["status"] == "ok":
                _keep(_part(folder, job), _final(folder, job))
            results.append(folder, row, columns)
            if row["status"] != "ok":
                LOGGER.warning(f"\n{job.model} seed {job.seed} failed: {row['reason']}")
    done = results.read(folder)
    return [done[job.model, job.seed] for job in jobs]


def measure_latency(plan: Plan, folder: Path) -> None:
    """Measure the latency of all models of a plan in turn, unless the result folder has it.

    It is measured by this process; where there is no room for that, the comparison goes without.
    """
    if set(results.load_latency(folder)) == set(plan.models):
        return
    size = plan.train.get("imgsz", DEFAULT_CFG_DICT["imgsz"])
    where = plan.machine.here
    try:
        models = {name: model.to(where) for name, model in plan.models.items()}
        with log.doing("measuring the latency"):
            measured = latency(models, size, seconds=SECONDS * len(models), threads=plan.machine.threads or None)
    except RuntimeError as error:  # out of memory, say
        LOGGER.warning(f"The latency can't be measured: {error}")
        return
    kind = torch.cuda.get_device_name(where) if where.startswith("cuda") else where
    results.save_latency(
        folder,
        {name: {**{k: round(v, 4) for k, v in asdict(m).items()}, "device": kind} for name, m in measured.items()},
    )


def _job(plan: Plan, arm: Arm, seed: int, resume: bool) -> Job:
    """One run of an arm."""
    train = {**plan.train, "freeze": list(arm.freeze)} if "freeze" in plan.train else plan.train
    data, splits = plan.data.yaml, plan.data.splits
    where = plan.machine.device, plan.machine.threads
    return Job(arm.name, seed, arm.yaml, train, data, splits, plan.pretrained, *where, resume)


def _columns(plan: Plan) -> list[str]:
    """Columns of results.csv that depend on the data set."""
    sizes = [size for size in SIZES if size != "all"]
    measures = [*SCORES, *(f"{SCORES[0]}/{name}" for name in (*sizes, *headings(plan.data.names)))]
    return [f"{split}/{measure}" for split in plan.data.splits for measure in measures]


def _final(folder: Path, job: Job) -> Path:
    return folder / "runs" / job.model / f"seed{job.seed}"


def _part(folder: Path, job: Job) -> Path:
    """Where a run works until it is finished."""
    return folder / "runs" / job.model / f"seed{job.seed}.part"


def _keep(part: Path, final: Path) -> None:
    """What stays of a finished run."""
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    for name in KEPT:
        os.replace(part / name, final / name)
    shutil.rmtree(part)
    lock_of(part).unlink(missing_ok=True)
