"""CBAM, CoordAtt, SimAM, TripletAttention, ShuffleAttention, SGE, BAM, GAM and ELA: options, widths, bad arguments."""

from __future__ import annotations

import pytest
import torch
from timm.layers import create_attn
from torch import nn

from yolo_attn.modules import BAM, CBAM, ELA, GAM, SGE, CoordAtt, ShuffleAttention, SimAM, TripletAttention

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic

GATES = (BAM, CBAM, ELA, GAM, SGE, CoordAtt, ShuffleAttention, SimAM, TripletAttention)
WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128, 144, 160, 192, 256, 288, 320, 384, 448, 512, 576, 640, 768, 1024)


@pytest.mark.parametrize("gate, arguments", [
    (CBAM, {"dim": 8, "reduction": 3, "bias": False}),
    (CBAM, {"dim": 16}),
    (CoordAtt, {"dim": 300}),
    (SimAM, {"dim": 8, "e_lambda": 0.1}),
    (TripletAttention, {"dim": 8}),
    (TripletAttention, {"dim": 8, "kernel_size": 5, "no_spatial": True}),
    (ShuffleAttention, {"dim": 12, "num_groups": 1}),
    (ShuffleAttention, {"dim": 12, "num_groups": 6}),
    (SGE, {"dim": 12, "num_groups": 3}),
    (SGE, {"dim": 8, "num_groups": 8}),
    (BAM, {"dim": 16, "dilation": 1}),
    (GAM, {"dim": 8, "reduction": 2, "kernel_size": 3, "num_groups": 2}),
    (GAM, {"dim": 8}),
    (ELA, {"dim": 12, "kernel_size": 5, "num_groups": 3, "group_size": 4}),
    (ELA, {"dim": 8, "num_groups": 8}),
    (ELA, {"dim": 16}),
])  # fmt: skip
@pytest.mark.parametrize("size", [(1, 1), (5, 6)], ids=str)
def test_options(gate: type[nn.Module], arguments: dict, size: tuple[int, int]) -> None:
    """An option, or a default that the tiny instance doesn't have, would compute something else than its equations."""
    torch.manual_seed(0)
    module = generic(gate(**arguments)).double()
    x = torch.randn(2, arguments["dim"], *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES[gate.__name__](module, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("layer, has", [
    (CBAM(32, 4, 5).fc1, {"out_channels": 8}),
    (CBAM(32, 4, 5).spatial.conv, {"kernel_size": (5, 5)}),
    (CoordAtt(512, 16).conv1, {"out_channels": 32}),
    (TripletAttention(8, 3).hc.conv, {"kernel_size": (3, 3)}),
    (BAM(32, 4, 3).spatial_att[3], {"in_channels": 8, "dilation": (3, 3), "padding": (3, 3)}),
    (BAM(8).channel_att[0], {"out_channels": 1}),
    (GAM(32, 2, 5, 4).conv2, {"in_channels": 16, "kernel_size": (5, 5), "groups": 4}),
    (ELA(16, 5, 4, 8).conv, {"kernel_size": (5,), "groups": 2}),
    (ELA(16, 5, 4, 8).gn, {"num_groups": 4}),
])  # fmt: skip
def test_options_reach_the_layers(layer: nn.Module, has: dict) -> None:
    """A width, kernel, step or number of groups that a row asks for would be another one."""
    assert {key: getattr(layer, key) for key in has} == has


@pytest.mark.parametrize("gate", GATES)
def test_every_width_of_yolov8(gate: type[nn.Module]) -> None:
    """A row without arguments would not build at some scale, because a number of groups doesn't divide the width."""
    for width in WIDTHS:
        with torch.device("meta"):
            assert gate(width).eval()(torch.empty(1, width, 2, 3)).shape == (1, width, 2, 3), width


def test_groups_by_default() -> None:
    """Groups would be more than the paper's 64, or of so few channels that there is nothing to compare in them."""
    assert [SGE(width).num_groups for width in (2, 16, 64, 576, 1024)] == [1, 4, 16, 64, 64]
    assert [ShuffleAttention(width).num_groups for width in (2, 16, 64, 576, 1024)] == [1, 4, 16, 48, 64]
    assert [ELA(width).gn.num_groups for width in (8, 24, 576)] == [8, 12, 16]


@pytest.mark.parametrize("gate", [SimAM, SGE, ShuffleAttention])
def test_large_values_in_half_precision(gate: type[nn.Module]) -> None:
    """Squares and products of activations of some hundreds would overflow, and the gates be open, shut or NaN."""
    torch.manual_seed(0)
    module, x = generic(gate(8)), 300 + 300 * torch.randn(2, 8, 20, 20)
    want = module.double()(x.double()) / 300
    got = module.half()(x.half()).double() / 300
    torch.testing.assert_close(got, want, **TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("gate", [SimAM, SGE, ShuffleAttention, ELA])
@pytest.mark.parametrize("x", [torch.randn(1, 8, 1, 1), torch.ones(2, 8, 3, 3)], ids=["one pixel", "constant"])
def test_a_map_without_variance(gate: type[nn.Module], x: torch.Tensor) -> None:
    """One map without variance, as a dead channel has, would turn all weights into NaN."""
    x = x.clone().requires_grad_()
    module = generic(gate(8))
    module(x).square().sum().backward()
    assert all(t.grad.isfinite().all() for t in [x, *module.parameters()])


def test_simam_of_one_pixel() -> None:
    """Its variance has no degree of freedom: the gate would be NaN, also in a graph of another size."""
    module, x = SimAM(2), torch.rand(1, 2, 1, 1)
    torch.testing.assert_close(module(x), x * torch.tensor(0.5).sigmoid())
    graph, y = torch.jit.trace(module, torch.rand(1, 2, 3, 3)), torch.rand(1, 2, 4, 5)
    torch.testing.assert_close(graph(x), module(x))
    torch.testing.assert_close(torch.jit.trace(module, x)(y), module(y))


def test_ela_equals_timm_without_its_own_additions() -> None:
    """ELA would be another mechanism than timm's, not the same with shared weights and without a SiLU."""
    ours = generic(ELA(16, 5, num_groups=1)).double()
    theirs = create_attn("ela", 16, kernel_size=5, act_layer=nn.Identity).double()
    ours_as_theirs = {
        "conv_h.weight": ours.conv.weight.unsqueeze(3),
        "conv_w.weight": ours.conv.weight.unsqueeze(2),
        **{f"norm_{axis}.{key}": value for axis in "hw" for key, value in ours.gn.state_dict().items()},
    }
    theirs.load_state_dict(ours_as_theirs)
    x = torch.randn(2, 16, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("make, message", [
    (lambda: CBAM(0), "CBAM: dim must be a positive integer, got 0"),
    (lambda: CBAM(8, kernel_size=6), "CBAM: kernel_size must be odd, got 6. Choose one more or less."),
    (lambda: CBAM(8, bias=1), "CBAM: bias must be True or False, got 1"),
    (lambda: CoordAtt(8, 0.5), "CoordAtt: reduction must be a positive integer, got 0.5"),
    (lambda: SimAM(8, 0), "SimAM: e_lambda must be a number from 1e-10 to 1, got 0"),
    (lambda: SimAM(8, 256), "SimAM: e_lambda must be a number from 1e-10 to 1, got 256"),
    (lambda: TripletAttention(8, 4), "TripletAttention: kernel_size must be odd, got 4"),
    (lambda: ShuffleAttention(7), "ShuffleAttention: dim must be even, got 7. Choose 8."),
    (lambda: ShuffleAttention(8, 8), "num_groups must divide dim / 2, got num_groups=8 and dim / 2=4. Choose one of"),
    (lambda: SGE(8, 3), "SGE: num_groups must divide dim, got num_groups=3 and dim=8. Choose one of 1, 2, 4, 8."),
    (lambda: BAM(8, dilation=0), "BAM: dilation must be a positive integer, got 0"),
    (lambda: GAM(8, 4, num_groups=4), "num_groups must divide hidden width, got num_groups=4 and hidden width=2"),
    (lambda: ELA(8, 7, 16), "ELA: num_groups must divide dim, got num_groups=16 and dim=8"),
    (lambda: ELA(8, group_size=3), "ELA: group_size must divide dim, got group_size=3 and dim=8"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
