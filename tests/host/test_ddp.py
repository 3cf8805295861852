"""Training by several processes, as multi-GPU training starts them; `cpu_ddp` replaces what of it insists on CUDA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from ultralytics import YOLO

FOLDER = Path(__file__).parent / "cpu_ddp"
AUTOLOAD, IMPORT = ("yolo", "1"), ("yolo-attn", "0")


@pytest.mark.slow
@pytest.mark.parametrize("command, autoload, model, start", [
    (*AUTOLOAD, "yolov8n-dattn.yaml", "new"), (*IMPORT, "yolov8n-dattn.yaml", "new"),
    (*IMPORT, "yolov8n-msda.yaml", "loaded"),  # what is sent to the workers is a model, from 8.4.150 on
    (*AUTOLOAD, "yolov8n-iaff.yaml", "new"),  # has parameters that get no gradient
])  # fmt: skip
def test_two_processes(command: str, autoload: str, model: str, start: str, run, data: Path, tmp_path: Path) -> None:
    """The second GPU would not know the modules, or its model would drift away from that of the first."""
    if start == "loaded":
        torch.save({"model": YOLO(model).model, "train_args": {}}, tmp_path / "start.pt")
        model = "start.pt"
    recipe = ("epochs=1", "imgsz=64", "batch=4", "nbs=4", "optimizer=AdamW", "warmup_epochs=0", "plots=False")
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    arguments = (f"model={model}", f"data={data}", "device=cpu", f"project={tmp_path}", *recipe)
    done = run(command, "train", *arguments, PYTHONPATH=path, YOLO_ATTN_AUTOLOAD=autoload)
    assert "-m torch.distributed.run --nproc_per_node 2" in done.stdout + done.stderr
    assert (tmp_path / "train" / "weights" / "best.pt").exists()
    (begun, first), (also, second) = (
        [torch.load(tmp_path / f"rank{rank}-{moment}.pt") for moment in ("start", "end")] for rank in range(2)
    )
    assert [k for k in first if not torch.equal(begun[k], also[k])] == []
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    moved = {k for k in first if not torch.equal(begun[k], first[k])}
    ours = [k for k in first if ".fn." in k or ".local_att" in k]
    assert ours and sum(k in moved for k in ours) > 0.8 * len(ours)
