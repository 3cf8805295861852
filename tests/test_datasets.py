"""Data sets as users have them, read before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo_attn.comparison.datasets import check_data, headings

from .comparison import LABEL
from .comparison import data_set as write
from .models import logged


def test_splits(tmp_path: Path) -> None:
    """A test split without labels would count, or images without objects would not."""
    data = write(tmp_path, train={"0": LABEL}, val={"0": LABEL, "1": ""}, test={"0": "", "1": ""})
    found = check_data(data, "detect", {})
    assert found.images == {"train": 1, "val": 2} and found.splits == ("val",) and found.names == ("a", "b")
    assert check_data(data, "detect", {"single_cls": True}).names == ("item",)  # as Ultralytics calls it


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_labels(split: str, tmp_path: Path) -> None:
    """Hours would be spent on scores that are all zero."""
    splits = {"train": {"0": LABEL}, "val": {"0": LABEL}} | {split: {"0": ""}}
    with pytest.raises(ValueError, match=f"data: {split} of .* has no labels"):
        check_data(write(tmp_path, **splits), "detect", {})


def test_digest(tmp_path: Path) -> None:
    """Labels would be mended between two runs of one comparison, or a data set could not be moved."""
    digests = []
    for name, label in (("one", LABEL), ("moved", LABEL), ("mended", LABEL.replace("0.5", "0.25"))):
        data = write(tmp_path / name, train={"0": LABEL}, val={"0": label})
        digests.append(check_data(data, "detect", {}).digest)
    assert digests[0] == digests[1] != digests[2]


def test_images_of_one_name(tmp_path: Path) -> None:
    """That some figures will be missing would be found after the runs."""
    data = write(tmp_path, train={"0": LABEL}, val={"v1/7": LABEL, "v2/007": LABEL})
    with logged() as lines:
        assert check_data(data, "detect", {}).images == {"train": 1, "val": 2}
    assert any("Several images of val have one name" in line for line in lines)


def test_headings() -> None:
    """The score of a class would stand in the column of another, or of a size."""
    assert headings(["cell", "small", "car", "car"]) == ["cell", "small (1)", "car (2)", "car (3)"]
