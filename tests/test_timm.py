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
        idle: timm's names of those that make no difference to a result, which we leave out.
    """

    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    names: Mapping[str, str] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def _eps(layer: nn.Module) -> nn.Module:
    """timm's layer with the epsilon of torch's LayerNorm."""
    for norm in (m for m in layer.modules() if isinstance(m, nn.LayerNorm)):
        norm.eps = nn.LayerNorm(1).eps
    return layer


def _global_context(part: str, fusion: str) -> Pair:
    """Our fusion, whose transform has `part` in its name, beside timm's."""
    ours, theirs = f"channel_{part}_conv", "mlp_add" if part == "add" else "mlp_scale"
    return Pair(
        lambda: modules.GlobalContext(16, 4, fusion),
        lambda: _eps(create_attn("gca" if part == "add" else "gc", 16, rd_channels=4)),
        {
            "conv_mask": "conv_attn",
            **{f"{ours}.{i}": f"{theirs}.{n}" for i, n in enumerate(("fc1", "norm", "", "fc2"))},
        },
        (f"{ours}.1.weight", f"{ours}.1.bias"),
        ("conv_attn.bias",),
    )


PAIRS = {
    "ECA": Pair(lambda: modules.ECA(16), lambda: create_attn("eca", 16)),
    "ESE": Pair(lambda: modules.ESE(16), lambda: create_attn("ese", 16)),
    "GatherExcite": Pair(lambda: modules.GatherExcite(16), lambda: create_attn("ge", 16, use_mlp=False)),
    "GatherExcite, extent": Pair(  # timm's with convolutions can't be built
        lambda: modules.GatherExcite(16, 4), lambda: create_attn("ge", 16, use_mlp=False, extent=4)
    ),
    "GlobalContext": _global_context("add", "add"),
    "GlobalContext, scale": _global_context("mul", "scale"),
    "CBAM": Pair(
        lambda: modules.CBAM(16, 4, 5),
        lambda: create_attn("cbam", 16, rd_ratio=1 / 4, spatial_kernel_size=5, mlp_bias=True),
        {"fc": "channel.fc", "spatial.": "spatial.conv."},
    ),
    "CoordAtt": Pair(lambda: modules.CoordAtt(16), lambda: create_attn("coord", 16, rd_channels=8, bias=True)),
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
    idle = {k: theirs.state_dict()[k] for k in pair.idle}
    given = {_theirs(k, pair): _viewed(k, v, pair, theirs) for k, v in ours.state_dict().items()}
    theirs.load_state_dict({**given, **idle})
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE[torch.float64])


def _theirs(key: str, pair: Pair) -> str:
    """timm's name of one of ours."""
    start = max((n for n in pair.names if key.startswith(n)), key=len, default="")
    return pair.names.get(start, "") + key.removeprefix(start)


def _viewed(key: str, value: torch.Tensor, pair: Pair, theirs: nn.Module) -> torch.Tensor:
    return value.view_as(theirs.state_dict()[_theirs(key, pair)]) if key in pair.views else value


def test_selective_kernels() -> None:
    """SK would choose otherwise than timm's layer, which has no biases, and one matrix for the choice of all paths."""
    torch.manual_seed(0)
    ours = generic(modules.SK(16, num_groups=4)).double()
    theirs = create_attn("sk", 16, split_input=False, groups=4, rd_channels=32).double().eval()
    for conv in (m for m in ours.modules() if isinstance(m, nn.Conv2d)):
        nn.init.zeros_(conv.bias)
    for (conv, norm, _), path in zip(ours.convs, theirs.paths, strict=True):
        path.conv.weight = conv.weight
        path.bn.load_state_dict(norm.state_dict())
    theirs.attn.fc_reduce.weight = ours.compress[0].weight
    theirs.attn.bn.load_state_dict(ours.compress[1].state_dict())
    theirs.attn.fc_select.weight = nn.Parameter(torch.cat([each.weight for each in ours.projections]))
    x = torch.randn(2, 16, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE[torch.float64])
