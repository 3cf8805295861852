"""Tensors that follow from sizes alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from yolo_attn.modules._constants import KEPT, constant


@pytest.fixture
def made() -> list[tuple]:
    """What was made."""
    return []


@pytest.fixture
def get(made: list[tuple]):
    """A constant that notes when it is made."""

    @constant
    def ramp(like: Tensor, n: int) -> Tensor:
        made.append((like.dtype, n))
        return torch.arange(n, dtype=like.dtype, device=like.device)

    return ramp


def test_made_once(get, made: list[tuple]) -> None:
    """It would be made in every forward, or one type's numbers be taken for another's."""
    assert get(torch.zeros(1), 3) is get(nn.Parameter(torch.ones(2, 2)), 3)
    assert get(torch.zeros(1).double(), 3).dtype == torch.float64
    assert made == [(torch.float32, 3), (torch.float64, 3)]


def test_bounded(get, made: list[tuple]) -> None:
    """Every size of a long training would be kept."""
    for n in [*range(2 * KEPT), 2 * KEPT - 1, 0]:
        get(torch.zeros(1), n)
    assert len(made) == 2 * KEPT + 1  # the first is gone, the last is not


def test_trainable_behind_a_validation(get) -> None:
    """A training would stop at a tensor that inference mode has made."""
    with torch.inference_mode():
        get(torch.zeros(1), 3)
    x = torch.ones(3, requires_grad=True)
    (get(torch.zeros(1), 3) * x).sum().backward()
    assert x.grad.tolist() == [0, 1, 2]


def test_graphs_have_their_own(get, made: list[tuple]) -> None:
    """A graph would hold the numbers of one size, or a tensor without numbers be kept for later."""
    with FakeTensorMode():
        get(torch.zeros(1), 3)
    assert get(torch.zeros(1), 3).tolist() == [0, 1, 2]
    assert len(made) == 2
    graph = torch.jit.trace(lambda x: x + get(x, x.shape[0]), torch.zeros(3), check_trace=False)
    assert graph(torch.zeros(4)).tolist() == [0, 1, 2, 3]
    compiled = torch.compile(lambda x: x + get(x, x.shape[0]), backend="eager", fullgraph=True, dynamic=True)
    assert compiled(torch.zeros(5)).tolist() == [0, 1, 2, 3, 4]
