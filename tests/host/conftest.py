"""What tests of whole trainings share: a data set that takes a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo_attn.data import draw_shapes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The YAML of a set of 16 images to train and 4 to validate, in a folder `shapes` beside it.

    It has 80 classes: with fewer, how many tensors of the head are taken depends on the version of Ultralytics.
    """
    draw_shapes(tmp_path / "shapes", train=16, val=4)
    names = "".join(f"  {i}: {i}\n" for i in range(80))
    path = tmp_path / "shapes.yaml"
    path.write_text(f"path: {tmp_path / 'shapes'}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return path
