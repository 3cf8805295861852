"""One run of a comparison: train a model, validate its last checkpoint, and leave what the report needs in a folder."""

from __future__ import annotations

import math
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.cfg import DEFAULT_CFG_DICT
from ultralytics.nn.tasks import torch_safe_load

from ..measure import peak_mib
from ..patches import footing
from . import ap
from .datasets import MEASURED, headings

KEPT = ("last.pt", "epochs.csv", "bootstrap.npz")  # files that a run leaves
SCORES = ("mAP50-95", "mAP50")
METRIC = {"detect": "box", "obb": "box", "segment": "seg", "pose": "pose"}  # of the validator, by task
VALIDATION = ("imgsz", "batch", "workers", "single_cls", "max_det", "iou", "conf", "classes", "agnostic_nms", "augment")


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        model: Name of the model.
        seed: Seed of everything random.
        yaml: Text of the model YAML.
        train: Ultralytics' train arguments, apart from those that follow from what is here.
        data: YAML of the data set.
        splits: Those that the score is measured on, such as val and test.
        pretrained: Checkpoint, or "" for random weights.
        device: As Ultralytics takes it; "" for the GPU that the process sees.
        threads: CPU threads; 0 leaves them to Ultralytics.
        resume: Whether an interrupted run goes on from its last epoch.
    """

    model: str
    seed: int
    yaml: str
    train: dict[str, Any]
    data: str
    splits: tuple[str, ...]
    pretrained: str = ""
    device: str = ""
    threads: int = 0
    resume: bool = False


class RunFailed(RuntimeError):
    """A run ended without a result that can be compared."""


def train(job: Job, folder: Path) -> dict[str, Any]:
    """Do a run.

    Args:
        job: What to do.
        folder: Gets last.pt, epochs.csv (Ultralytics' table of epochs) and bootstrap.npz. What an interrupted run left
            there is removed, unless it is resumed.

    Returns:
        The row of results.csv.

    Raises:
        RunFailed: If a loss is not finite, or Ultralytics changed the recipe on the way.
    """
    last = folder / "train" / "weights" / "last.pt"
    resumed = job.resume and last.exists() and _has_epochs_left(last)
    if not resumed:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    seconds = _fit(job, folder, last if resumed else None)
    row: dict[str, Any] = {"model": job.model, "seed": job.seed, "status": "ok", "resumed": resumed}
    peak = peak_mib(job.device or "cuda")
    row |= {"train_s": None if resumed else round(seconds, 2), "peak_mib": round(peak) if math.isfinite(peak) else None}
    samples = {}
    for split in job.splits:
        measured, samples[split] = _validate(job, split, last, folder)
        row |= {f"{split}/{name}": round(value, 6) for name, value in measured.items()}
    for score in SCORES:
        row[score] = round(float(np.mean([row[f"{split}/{score}"] for split in job.splits])), 6)
    if not math.isfinite(row["mAP50-95"]):
        raise RunFailed(f"the score is {row['mAP50-95']}")
    known: dict[str, Any] = {split: sample for split, sample in samples.items() if sample is not None}
    np.savez_compressed(folder / "bootstrap.npz", **known)
    shutil.copy(last, folder / "last.pt")
    shutil.copy(folder / "train" / "results.csv", folder / "epochs.csv")
    return row


def _has_epochs_left(checkpoint: Path) -> bool:
    """Whether training was interrupted; after its end Ultralytics strips a checkpoint of what resuming needs."""
    try:
        return torch_safe_load(str(checkpoint))[0].get("epoch", -1) >= 0
    except Exception:  # whatever a file raises that was cut short
        return False


def _fit(job: Job, folder: Path, resumed: Path | None) -> float:
    """Train; return the seconds spent in training epochs, without validation."""
    from ultralytics import YOLO

    _seed_all(job.seed)  # before the model is made: some Ultralytics make its new layers before they set the seed
    path = folder / f"{job.model}.yaml"
    path.write_text(job.yaml, encoding="utf-8")
    yolo = YOLO(str(resumed or path))
    began, spent = 0.0, 0.0
    batch = job.train.get("batch", DEFAULT_CFG_DICT["batch"])

    def start(trainer: Any) -> None:
        footing.set_threads(job.threads)
        footing.seed_loader(trainer)

    def epoch_start(trainer: Any) -> None:
        nonlocal began
        began = time.perf_counter()

    def epoch_end(trainer: Any) -> None:
        nonlocal spent
        spent += time.perf_counter() - began
        if not footing.is_finite(trainer):
            raise RunFailed(f"the loss is not finite in epoch {trainer.epoch + 1}. Lower lr0, or set amp=False.")
        if trainer.batch_size != batch:  # Ultralytics halves it where it doesn't fit
            raise RunFailed(f"out of memory with batch={batch}. Take a smaller batch for all models.")

    for event, call in (("start", start), ("epoch_start", epoch_start), ("epoch_end", epoch_end)):
        yolo.add_callback(f"on_train_{event}", call)
    if resumed:
        yolo.train(resume=True)
    else:
        ours = {"project": str(folder), "name": "train", "exist_ok": True, "save": True, "patience": 0}
        pretrained = job.pretrained or False
        common = {"data": job.data, "seed": job.seed, "pretrained": pretrained, "device": job.device or None}
        yolo.train(**{"plots": False, **job.train, **common, **ours})
    return spent


def _validate(job: Job, split: str, weights: Path, folder: Path) -> tuple[dict[str, float], np.ndarray | None]:
    """Measures of a checkpoint on a split, and where the task has boxes alone its mAP50-95 over resampled images."""
    from ultralytics import YOLO

    yolo: Any = YOLO(str(weights))
    seen: list[tuple[np.ndarray, np.ndarray, list[str]] | None] = []

    def end(validator: Any) -> None:
        if yolo.task == "detect":
            seen.append(footing.detections(validator))
        validator.jdict = []  # nothing to write

    yolo.add_callback("on_val_start", lambda validator: footing.set_threads(job.threads))
    yolo.add_callback("on_val_end", end)
    given = {name: job.train[name] for name in VALIDATION if name in job.train}
    ours = {"project": str(folder), "name": split, "exist_ok": True, "plots": False, "save_json": yolo.task == "detect"}
    metrics = yolo.val(data=job.data, split=split, device=job.device or None, **given, **ours)
    box = getattr(metrics, METRIC[yolo.task])
    measured = {"mAP50-95": float(box.map), "mAP50": float(box.map50)}
    names = headings(list(yolo.names.values()))
    measured |= {f"mAP50-95/{names[c]}": float(v) for c, v in zip(box.ap_class_index, box.ap, strict=True)}
    if not seen or seen[0] is None:
        return measured, None
    sizes, samples = _resampled(*seen[0], seed=MEASURED.index(split))
    return measured | sizes, samples


def _resampled(
    predicted: np.ndarray, true: np.ndarray, files: list[str], seed: int
) -> tuple[dict[str, float], np.ndarray]:
    """mAP50-95 by size of object, and of all objects for each resample of the images."""
    images, classes = predicted[:, 0].astype(int), predicted[:, 1].astype(int)
    predictions = ap.Boxes(predicted[:, 2:6], classes, images, predicted[:, 6])
    truths = ap.Boxes(true[:, 2:], true[:, 1].astype(int), true[:, 0].astype(int))
    count = 1 + int(max(classes.max(initial=0), truths.classes.max(initial=0)))
    matches = {size: ap.match(predictions, truths, len(files), count, size) for size in ap.SIZES}
    means = {size: ap.mean_over_classes(ap.average_precision(m))[0].mean() for size, m in matches.items()}
    samples = ap.average_precision(matches["all"], ap.resamples(len(files), seed=seed))
    by_size = {f"mAP50-95/{size}": float(v) for size, v in means.items() if size != "all" and math.isfinite(v)}
    return by_size, ap.mean_over_classes(samples).mean(1)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
