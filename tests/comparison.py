"""A real comparison as small as possible, as a user starts it."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

from .conftest import script

MODELS = "yolov8n.yaml,yolov8n-se.yaml"
RECIPE = ("data=shapes.yaml", "epochs=1", "imgsz=32", "batch=8", "fraction=0.05", "seeds=2", "pretrained=start.pt")
COMMAND = (script("yolo-attn"), "compare")
LABEL = "1 0.5 0.5 0.5 0.5\n"  # of an image of a `data_set`
NOISY = ("train_s", "peak_mib")  # differ from run to run


def prepare(folder: Path) -> Path:
    """Put the checkpoint that all models start from into a folder."""
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO("yolov8n.yaml").save(str(folder / "start.pt"))
    return folder


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """What results.csv says of the runs that are done, without what differs from run to run."""
    with open(folder / "results.csv", newline="") as file:
        done = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    return {(row["model"], row["seed"]): {k: v for k, v in row.items() if k not in NOISY} for row in done}


def weights(folder: Path) -> dict[str, bytes]:
    """Digests of the weights of all finished runs: runs that are the same to the last bit have the same."""
    import torch

    found = {}
    for path in sorted(folder.glob("runs/*/seed*/last.pt")):
        state = torch.load(path, weights_only=False)["model"].state_dict()
        data = b"".join(value.numpy().tobytes() for value in state.values())
        found[str(path.relative_to(folder))] = hashlib.sha256(data).digest()
    return found


def workers(folder: Path) -> list[psutil.Process]:
    """Processes of runs in a result folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return found


def data_set(folder: Path, **splits: dict[str, str]) -> str:
    """A data set of two classes: by split the label of each image, by its path without ending."""
    for split, labels in splits.items():
        for name, label in labels.items():
            for kind, ending in (("images", ".jpg"), ("labels", ".txt")):
                path = folder / kind / split / f"{name}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if kind == "images":
                    Image.fromarray(np.full((32, 32, 3), len(name), np.uint8)).save(path)
                elif label:
                    path.write_text(label)
    found = {split: f"images/{split}" for split in splits}
    (folder / "my.yaml").write_text(yaml.safe_dump({"path": str(folder), **found, "names": ["a", "b"]}))
    return str(folder / "my.yaml")
