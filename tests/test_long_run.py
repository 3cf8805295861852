"""Memory of long trainings at changing image sizes."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

import yolo_attn
from yolo_attn.data import draw_shapes
from yolo_attn.modules._constants import KEPT

from .conftest import ROOT

WARM = 300  # iterations until every size was seen often
LIMIT_MIB = 16  # the allocator alone moves by a few


def growth(held: dict[str, Any]) -> float:
    """MiB by which the resident memory grew, from the hundred iterations behind the warm-up to the last hundred."""
    notes = [(done, rss) for done, rss, _ in held["notes"]]
    last = notes[-1][0]
    return mean(r for d, r in notes if d > last - 100) - mean(r for d, r in notes if WARM < d <= WARM + 100)


@pytest.mark.slow
def test_memory_stays(run, tmp_path: Path) -> None:
    """A cache that grows with the sizes, or a tensor that is kept, would end a long training for want of memory."""
    draw_shapes(tmp_path / "shapes", train=200, val=2)
    data = tmp_path / "data.yaml"
    data.write_text(f"path: {tmp_path / 'shapes'}\ntrain: images/train\nval: images/val\nnames: [a, b, c, d, e, f]\n")
    many = yolo_attn.insert("yolov8n.yaml", ["ShiftWindowAttention", "CrossFormerBlock", "SIFA"], "sppf")
    yolo_attn.insert(many, ["MSDeformAttn"], "neck", out=tmp_path / "yolov8n-many.yaml")
    grown = {}
    for model in ("yolov8n.yaml", "yolov8n-dattn.yaml", str(tmp_path / "yolov8n-many.yaml")):
        out = tmp_path / f"{Path(model).stem}.json"
        run("python", "-m", "tests.long_run", model, str(data), str(out), cwd=ROOT)
        held = json.loads(out.read_text(encoding="utf-8"))
        assert set(held["sizes"]) == {"32", "64", "96"} and min(held["sizes"].values()) > 200
        tensors = [(done, count) for done, _, count in held["notes"] if done >= 100]
        assert max(n for done, n in tensors if done > WARM) <= max(n for done, n in tensors if done <= WARM)
        assert max(held["others"]) <= held["others"][KEPT]  # constants of the last sizes
        grown[out.stem] = growth(held)
        print(f"{out.stem}: {grown[out.stem]:+.2f} MiB")
    assert max(grown.values()) - grown["yolov8n"] < LIMIT_MIB, grown
