"""Moving from edited forks: a fork's layer as ours, in numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from yolo_attn.patches import foreign
from yolo_attn.patches.stubs import budget

from yolo_attn.migration.adapting import Different
from yolo_attn.migration.layers import ADAPTERS, kept
from yolo_attn.migration.rewriting import written
from yolo_attn.registry import get
from yolo_attn.rows import build_arguments

from . import forks

C, SIZE = 32, (14, 21)
SAME = {
    "SE": lambda: forks.SEAttention(C, 8),
    "SE with biases": lambda: forks.SE(C, C, 16),
    "SE of odd width": lambda: forks.SE(C, C, 5),
    "ECA": lambda: forks.ECAAttention(5, bias=False),
    "ECA with a bias": lambda: forks.ECAAttention(3),
    "CBAM": lambda: forks.CBAM(C, C, 8),
    "CBAM of another order": lambda: forks.CBAMBlock(C, 4, 5),
    "CBAM of the paper": lambda: forks.OfficialCBAM(C, 8),
    "TripletAttention of the paper": forks.OfficialTriplet,
    "CoordAtt": lambda: forks.CoordAtt(C, C),
    "CoordAtt of built-in activation": lambda: forks.CoordAtt(C, C, 2, nn.Hardswish),
    "EMA": lambda: forks.EMA(C),
    "GAM": lambda: forks.GAM_Attention(C),
    "SimAM": forks.SimAM,
    "TripletAttention": forks.TripletAttention,
    "TripletAttention of two": lambda: forks.TripletAttention(True),
    "ShuffleAttention": lambda: forks.ShuffleAttention(C, 16, 4),
    "SK": lambda: forks.SKConv(C, 3),
    "DAttention": lambda: forks.DAttention(C, SIZE),
    "DAttention of free offsets": lambda: forks.DAttention(C, SIZE, 4, 2, 2, -1),
    "DAttention of a table": lambda: forks.DAttention(C, SIZE, dwc_pe=False),
    "DAttention of log_cpb": lambda: forks.DAttention(C, SIZE, dwc_pe=False, log_cpb=True),
    "MS_CAM": lambda: forks.MS_CAM(C),
    "AFF": lambda: forks.AFF(C, 2),
    "iAFF": lambda: forks.iAFF(C),
    "MLCA": lambda: forks.MLCA(C),
    "LSK": lambda: forks.LSKblock(C),
    "LSKA": lambda: forks.LSKA(C, 11),
    "CPCA": lambda: forks.CPCA(C),
    "ELA": lambda: forks.ELA(C, 5),
    "ESE": lambda: forks.EffectiveSEModule(C),
    "BiLevelRouting": lambda: forks.BiLevelRoutingAttention(C),
    "DeformConv": lambda: forks.DCNv2(C, 16, 3, 2),
    "C2fDCN": lambda: forks.C2f_DCN(C, 24, 2, True),
}


@pytest.fixture
def piece(tmp_path: Path):
    """A layer as its checkpoint shows it, saved where its class is, and read where it isn't."""

    def read(module: nn.Module) -> foreign.Piece:
        with forks.installed():
            torch.save({"model": module}, tmp_path / "layer.pt")
        return foreign._piece(foreign._load(tmp_path / "layer.pt")["model"], budget())

    return read


@pytest.mark.parametrize("case", SAME)
def test_a_layer_of_a_fork_computes_the_same(case: str, piece) -> None:
    """Weights of months of training would be put where they mean something else."""
    name = case.partition(" ")[0]
    fork, spec = forks.shaken(SAME[case]()), get(name)
    result = kept(name, piece(fork))
    inputs = [C, C] if spec.channels == "fuse" else C
    width = {"DeformConv": [16], "C2fDCN": [24]}.get(name, [])
    args = build_arguments(spec, inputs, 2 if spec.repeats else 1, written(spec, result.args, width), lambda c: c)[2]
    ours = spec.cls(*args)
    for inner in ours.modules():
        if isinstance(inner, nn.BatchNorm2d):
            inner.eps = 1e-3
    state = ours.state_dict()
    tensors = {k: v[..., None, None] if v.ndim == 2 and state[k].ndim == 4 else v for k, v in result.tensors.items()}
    missing, unexpected = ours.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    torch.manual_seed(1)
    x = torch.randn(2, C, *SIZE)
    x = [x, torch.randn(2, C, *SIZE)] if spec.channels == "fuse" else x
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), fork(x), rtol=1e-5, atol=1e-5)


def test_all_adapters_are_compared() -> None:
    """A new one would be trusted without a look at its numbers."""
    assert {case.partition(" ")[0] for case in SAME} == set(ADAPTERS)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("CBAM", lambda: forks.StockCBAM(C), "other names"),
        ("CoordAtt", lambda: forks.CoordAtt(C, C, act=nn.SiLU), "SiLU"),
        ("SE", lambda: nn.Sequential(nn.Linear(C, 4), nn.SiLU(), nn.Linear(4, C)), "SiLU"),
        ("GAM", lambda: forks.GAM_Attention(C, groups=4), "groups"),
        ("SK", lambda: forks.SKConv(C, dilated=False), r"kernels of \[3, 5\] pixels"),
        ("C2fDCN", lambda: forks.C2f_DCN(C, 24, both=True), "both convolutions"),
        ("ELA", lambda: forks.ECAAttention(), "other names"),
        ("SE", lambda: forks.ECAAttention(), "other names"),
        ("GCT", lambda: forks.SEAttention(C), "not known"),
    ],
)
def test_another_function_is_told(name: str, make, reason: str, piece) -> None:
    """A layer would be filled with weights that mean something else in it."""
    with pytest.raises(Different, match=reason):
        kept(name, piece(forks.shaken(make())))
