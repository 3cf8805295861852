"""The main job by the stock command: train, validate, predict, resume, export, each in a process of its own."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch

from .conftest import HOME, SHARED, script

BCCD = SHARED / "data" / "bccd" / "bccd.yaml"
SMALL = ("imgsz=96", "batch=16", "plots=False", "workers=0", "fraction=0.25")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of the stock command on the set that draws itself, from a directory outside the checkout."""
    folder = tmp_path_factory.mktemp("user")
    command = [
        script("yolo"),
        "train",
        "model=cfg/yolov8n-dattn.yaml",
        "data=shapes.yaml",
        "epochs=2",
        f"project={folder}",
        *SMALL,
    ]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (HOME / "datasets" / "shapes" / "images" / "val").is_dir()
    return folder / "train"


def test_train(trained: Path) -> None:
    """The stock command would not train a plugin YAML, or not change the inserted layer."""
    rows = list(csv.DictReader((trained / "results.csv").open()))
    assert len(rows) == 2
    model = torch.load(trained / "weights" / "best.pt", weights_only=False)["model"]
    assert type(model.model[10].fn).__name__ == "DAttention"
    assert model.model[10].gamma.abs().max() > 0
    assert model.yaml["nc"] == 6


def test_val_and_predict_elsewhere(trained: Path, run, tmp_path: Path) -> None:
    """best.pt would need the checkout, the directory or an import that it was trained with."""
    best = trained / "weights" / "best.pt"
    assert "all" in run("yolo", "val", f"model={best}", "data=shapes.yaml", *SMALL[:-1]).stdout
    source = HOME / "datasets" / "shapes" / "images" / "val"
    done = run("yolo", "predict", f"model={best}", f"source={source}", "imgsz=96", f"project={tmp_path}")
    assert len(list((tmp_path / "predict").glob("*.jpg"))) == len(list(source.glob("*.jpg")))
    assert "image 96/96" in done.stdout
    restricted = run("yolo", "val", f"model={best}", "data=shapes.yaml", *SMALL[:-1], ULTRALYTICS_SAFE_LOAD="1")
    assert "all" in restricted.stdout


@pytest.mark.parametrize("half", ["half=True", "half=False"])
def test_module_command(trained: Path, run, half: str) -> None:
    """Where no start-up file is read, `yolo-attn` and `python -m yolo_attn` would not stand in for `yolo`."""
    arguments = ("val", f"model={trained / 'weights' / 'last.pt'}", "data=shapes.yaml", half, *SMALL[:-1])
    for command in (("yolo-attn",), ("python", "-m", "yolo_attn")):
        assert "all" in run(*command, *arguments, YOLO_ATTN_AUTOLOAD="0").stdout


def test_resume_after_a_kill(run, tmp_path: Path) -> None:
    """A run that was killed would be lost."""
    command = [
        script("yolo"),
        "train",
        "model=yolov8n-se.yaml",
        "data=shapes.yaml",
        "epochs=3",
        f"project={tmp_path}",
        *SMALL,
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "train" / "weights" / "last.pt"
    for _ in range(1200):
        if last.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(0.5)  # past the writing of the file
    process.kill()
    process.wait()
    assert last.exists()
    run("yolo", "train", f"model={last}", "resume=True")
    assert len(list(csv.DictReader((tmp_path / "train" / "results.csv").open()))) == 3


def test_a_typo_is_one_line(run) -> None:
    """A user's typo would end in a KeyError, with a run folder left behind."""
    done = run("yolo", "train", "model=yolov8n-datn.yaml", "data=shapes.yaml", check=False)
    assert done.returncode and "yolov8-datn.yaml' does not exist" in done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(not BCCD.exists(), reason="needs the real data of the shared folder")
def test_real_data(run, tmp_path: Path) -> None:
    """On real images nothing would be learned."""
    options = ("epochs=1", "imgsz=160", "batch=8", "nbs=8", "plots=False", "workers=0", f"project={tmp_path}")
    shutil.copytree(BCCD.parent, tmp_path / "bccd")  # Ultralytics writes a cache beside the labels
    data = tmp_path / "bccd" / BCCD.name
    done = run("yolo", "train", "model=yolov8n-iaff.yaml", f"data={data}", *options)
    losses = list(csv.DictReader((tmp_path / "train" / "results.csv").open()))
    assert float(losses[0]["train/box_loss"]) > 0 and re.search(r"all +87 +1137", done.stdout)


def test_the_log_tells(trained: Path, run, tmp_path: Path) -> None:
    """A comparison of a fine-tuned model with one from scratch, or a freeze that shifted, would go unnoticed."""
    options = ("data=shapes.yaml", "epochs=1", f"project={tmp_path}", *SMALL)
    scratch = run("yolo", "train", "model=yolov8n-se.yaml", "freeze=11", *options).stdout
    assert "yolov8n-se.yaml starts from random weights; pretrained=yolov8n.pt starts from pretrained ones." in scratch
    assert "freeze=11 counts rows, inserted ones too: 10 (SE). The stock layers alone are freeze=[0,1,2," in scratch
    best = trained / "weights" / "best.pt"
    tuned = run("yolo", "train", "model=yolov8n-se.yaml", f"pretrained={best}", "name=tuned", *options).stdout
    assert "starts from random weights" not in tuned
    assert "355/355 tensors from best.pt; 5 new in 1 inserted layer (10: SE); 1 removed layer (10: DAttention)" in tuned
    state = torch.load(tmp_path / "tuned" / "weights" / "last.pt", weights_only=False)["model"]
    assert state.model[10].gamma.abs().max() > 0


def test_training_goes_on_from_a_loaded_model(trained: Path, tmp_path: Path) -> None:
    """The trainer rebuilds a model from its YAML, and would lose the weights that were loaded."""
    from ultralytics import YOLO

    model = YOLO("yolov8n-gct.yaml").load(str(trained / "weights" / "best.pt"))
    want = model.model.model[0].conv.weight.detach().clone()
    seen = {}
    model.add_callback("on_train_start", lambda t: seen.update(w=t.model.model[0].conv.weight.detach().clone()))
    options = dict(o.split("=") for o in SMALL)
    model.train(data="shapes.yaml", epochs=1, project=str(tmp_path), imgsz=96, batch=16, plots=False, workers=0,
                fraction=float(options["fraction"]))  # fmt: skip
    assert torch.equal(seen["w"], want)
    assert type(model.model.model[10]).__name__ == "GCT"
