"""Where runs are done."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.comparison.machine import cores, machine


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sees three GPUs of a larger machine, the last of another kind."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc,7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: ("H200", "H200", "T4")[i])


def test_gpus_of_a_larger_machine(gpus: None) -> None:
    """Runs would use GPUs that were given to somebody else."""
    one = machine(None, None, None)
    assert one.places == ({"CUDA_VISIBLE_DEVICES": "3"},) and one.here == "cuda:0" and one.kind == "H200"
    two = machine([1, 0], 3, None)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in two.places] == ["GPU-abc", "3", "GPU-abc"]
    assert two.here == "cuda:1" and two.device == ""


def test_gpus_of_two_kinds(gpus: None) -> None:
    """Runs of different processors would be compared."""
    with pytest.raises(ValueError, match="GPUs of one kind are needed, got H200, T4"):
        machine("0,2", None, None)


def test_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs side by side would take more threads than there are cores; or mps would be told to use no thread."""
    assert len(machine("cpu", None, None).places) == cores()
    assert machine("cpu", None, 2).places == ({"OMP_NUM_THREADS": "2"},) * max(cores() // 2, 1)
    assert machine("mps", None, None).places == ({},)
