"""Checkpoints with registered modules load in fresh processes, restricted or not, and DDP workers know them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.utils import dist
from yolo_attn.patches import lookup

LOAD = """
from pathlib import Path
from ultralytics import YOLO
for path in Path().glob("*.pt"):
    print(path.stem, sum(p.numel() for p in YOLO(path).model.parameters()))
"""


def save(name: str, path: Path) -> YOLO:
    """Build a model and write its checkpoint."""
    model = YOLO(name)
    model.ckpt = model.ckpt or {}  # up to 8.3.100 at least, only loaded models can be saved otherwise
    model.save(str(path))
    return model


def test_fresh_process_and_restricted_loading(run, tmp_path: Path) -> None:
    """best.pt would be refused by ULTRALYTICS_SAFE_LOAD=1, or load only where the plugin was imported by hand."""
    want = []
    for name in (path.stem for path in lookup.CFG.glob("*.yaml")):
        model = save(f"{name.replace('yolov8', 'yolov8n')}.yaml", tmp_path / f"{name}.pt")
        want.append(f"{name} {sum(p.numel() for p in model.model.parameters())}")
    for restricted in "01":
        lines = run("python", "-c", LOAD, ULTRALYTICS_SAFE_LOAD=restricted).stdout.splitlines()
        assert sorted(lines[-len(want) :]) == sorted(want)


def test_only_known_classes() -> None:
    """Restricted loading would meet a class that is neither torch's, Ultralytics' nor ours."""
    allowed = set(torch.serialization.get_safe_globals())
    for path in lookup.CFG.glob("*.yaml"):
        for module in tasks.DetectionModel(str(path).replace("yolov8", "yolov8n"), verbose=False).modules():
            package = type(module).__module__
            assert package.startswith(("torch.nn.", "ultralytics.nn.")) or type(module) in allowed, type(module)


def test_a_class_that_is_missing(tmp_path: Path, monkeypatch) -> None:
    """A user would read that pickle can't get an attribute, not which version to install."""
    save("yolov8n-se.yaml", tmp_path / "saved.pt")
    monkeypatch.delattr("yolo_attn.modules.se.SE")
    message = r"saved.pt needs the class yolo_attn.modules.se.SE, which is gone. Install the version of yolo_attn"
    with pytest.raises(ModuleNotFoundError, match=message):
        YOLO(str(tmp_path / "saved.pt"))


@pytest.mark.parametrize(
    ("module", "do"),
    [
        ("ultralytics.nn.modules.block", r"if that was an edited copy, move the checkpoint: yolo-attn migrate\."),
        ("__main__", r"Define it in this program, too"),
    ],
)
def test_a_missing_class_says_what_to_do(module: str, do: str, tmp_path: Path, monkeypatch) -> None:
    """A user would look for a version of Ultralytics, or of `__main__`, that has the class."""
    gone = type("Gone", (torch.nn.Module,), {"__module__": module})
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[module], "Gone", gone, raising=False)
        torch.save({"model": gone(), "train_args": {}}, tmp_path / "saved.pt")
    with pytest.raises(ModuleNotFoundError, match=do):
        YOLO(str(tmp_path / "saved.pt"))


def test_restricted_building_imports_nothing(run, tmp_path: Path) -> None:
    """The YAML inside an untrusted checkpoint could make Python import a file."""
    (tmp_path / "evil.py").write_text("print('imported')\n")
    code = (
        "from ultralytics.nn.tasks import DetectionModel as D; "
        "D({'nc': 1, 'backbone': [[-1, 1, 'Conv', [8, 3, 2]]], "
        "'head': [[-1, 1, 'evil.Gate', []], [[1], 1, 'Detect', ['nc']]]})"
    )
    done = run("python", "-c", code, check=False, ULTRALYTICS_SAFE_LOAD="1")
    if hasattr(tasks, "_SafeLoad"):  # restricted loading came with ultralytics 8.4.100
        assert "imported" not in done.stdout and "restricted loading imports nothing" in done.stderr
    else:
        assert "imported" in done.stdout


def test_a_file_that_is_missing(run, tmp_path: Path) -> None:
    """A user would not learn which own file a checkpoint needs, or that restricted loading needs it imported."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_gates.py").write_text(
        "import torch, yolo_attn\n\n@yolo_attn.register\nclass Gate(torch.nn.Module):\n"
        "    def __init__(self, dim):\n        super().__init__()\n    def forward(self, x):\n        return x\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "nc: 1\nbackbone:\n  - [-1, 1, Conv, [16, 3, 2]]\nhead:\n"
        "  - [-1, 1, my_gates.Gate, []]\n  - [[1], 1, Detect, [nc]]\n"
    )
    own = str(tmp_path / "own")
    saved = "from ultralytics import YOLO; m = YOLO('mine.yaml'); m.ckpt = m.ckpt or {}; m.save('saved.pt')"
    run("python", "-c", saved, PYTHONPATH=os.pathsep.join([own, os.environ.get("PYTHONPATH", "")]))
    missing = run("python", "-c", LOAD, check=False)
    assert "saved.pt needs 'my_gates', which Python cannot import. Install it, or put its folder" in missing.stderr
    if hasattr(tasks, "_SafeLoad"):
        path = os.pathsep.join([own, os.environ.get("PYTHONPATH", "")])
        refused = run("python", "-c", LOAD, check=False, ULTRALYTICS_SAFE_LOAD="1", PYTHONPATH=path)
        told = (
            "holds my_gates.Gate, which restricted loading does not know. If it is a layer that you trust, import my_g"
        )
        assert told in refused.stderr
        run("python", "-c", f"import my_gates; {LOAD}", ULTRALYTICS_SAFE_LOAD="1", PYTHONPATH=path)


class Trainer:
    """As much of a trainer as the file for its workers is made from."""

    args, model, callbacks = SimpleNamespace(save_dir="x", model="yolov8n-se.yaml"), "yolov8n-se.yaml", {}
    hub_session, resume = None, False


def test_ddp_workers(tmp_path: Path, run) -> None:
    """Multi-GPU workers would raise KeyError where nothing is installed."""
    trainer = Trainer()
    file = Path(dist.generate_ddp_file(trainer))
    try:
        first, rest = file.read_text().split("\n", 1)
    finally:
        dist.ddp_cleanup(trainer, str(file))
    compile(rest, "rest", "exec")
    code = f"{first}\nimport ultralytics.nn.tasks as t; print(t.DAttention.__name__)"
    assert run("python", "-c", code, YOLO_ATTN_AUTOLOAD="0").stdout.split()[-1] == "DAttention"
