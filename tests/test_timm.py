"""Modules that timm has too: equal results on equal weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
from timm.layers import create_attn
from torch import nn

from yolo_attn import modules

from .conftest import TOLERANCE
from .tiny import generic


@dataclass(frozen=True)
class Pair:
    """A module and timm's layer.

    Attributes:
        ours, theirs: Make one each, of the same width.
        names: Our names of parameters and buffers, or the beginnings of them, where they differ from timm's.
        views: Our names of those that timm has in another shape with the same numbers in the same order.
    """

    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    names: Mapping[str, str] = field(default_factory=dict)
    views: tuple[str, ...] = ()


PAIRS = {
    "NonLocal": Pair(  # without the scale: timm's is that of another width
        lambda: modules.NonLocal(16, 4, use_scale=False),
        lambda: create_attn("nl", 16, use_scale=False, rd_ratio=1 / 4, rd_divisor=1),
        {"theta": "t", "phi": "p", "out": "z", "bn": "norm"},
    ),
    "SE": Pair(lambda: modules.SE(16, 4), lambda: create_attn("se", 16, rd_ratio=1 / 4, rd_divisor=1)),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("size", [(1, 1), (6, 6), (5, 8)], ids=str)
def test_equals_timm(name: str, size: tuple[int, int]) -> None:
    """A row would be another mechanism than the layer of that name in timm, and than its docstring says."""
    pair = PAIRS[name]
    torch.manual_seed(0)
    ours, theirs = generic(pair.ours()).double(), pair.theirs().double().eval()
    theirs.load_state_dict({_theirs(k, pair): _viewed(k, v, pair, theirs) for k, v in ours.state_dict().items()})
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE[torch.float64])


def _theirs(key: str, pair: Pair) -> str:
    """timm's name of one of ours."""
    start = max((n for n in pair.names if key.startswith(n)), key=len, default="")
    return pair.names.get(start, "") + key.removeprefix(start)


def _viewed(key: str, value: torch.Tensor, pair: Pair, theirs: nn.Module) -> torch.Tensor:
    return value.view_as(theirs.state_dict()[_theirs(key, pair)]) if key in pair.views else value
