"""What Ultralytics exports of a module agrees with PyTorch, and the README says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import EXPORTS
from ..tiny import NAMES, each_module
from .exports import KINDS, PAGE, TABLE, error


@each_module
@pytest.mark.parametrize("kind", ["ONNX", "ONNX, dynamic", "TorchScript"])
def test_agrees(name: str, kind: str, tmp_path: Path) -> None:
    """A model would export, run, and predict something else, at the size of the export or at another."""
    assert error(name, KINDS[kind][0], tmp_path, KINDS[kind][1]) < EXPORTS


@pytest.mark.slow
@each_module
@pytest.mark.parametrize("kind", ["OpenVINO", "OpenVINO, dynamic"])
def test_agrees_in_openvino(name: str, kind: str, tmp_path: Path) -> None:
    """The same with OpenVINO, whose compiler takes seconds a model."""
    assert error(name, KINDS[kind][0], tmp_path, KINDS[kind][1]) < EXPORTS


@each_module
def test_agrees_without_sampling_operations(name: str, tmp_path: Path) -> None:
    """Runtimes without GridSample, or with a wrong one, would get it all the same, or other numbers."""
    assert error(name, "onnx", tmp_path, dynamic=True, safe=True) < EXPORTS
    assert not {"GridSample", "DeformConv"} & operations(tmp_path / f"{name}.onnx")


def operations(file: Path) -> set[str]:
    import onnx

    return {node.op_type for node in onnx.load(file).graph.node}


def test_the_table_of_the_readme() -> None:
    """A module would be missing from the table, or be shown with a result that nobody should export with."""
    (table,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines())
    assert head == ["Module", *KINDS]
    assert [row[0].strip("`") for row in rows] == NAMES
    assert all(0 <= float(cell) < EXPORTS for row in rows for cell in row[1:])
