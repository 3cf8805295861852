"""The stages of DAT: blocks, options, bad arguments, and the backbone made of them."""

from __future__ import annotations

import re

import pytest
import torch
from yolo_attn.patches import host

import yolo_attn
from yolo_attn.modules import DATStage

from .conftest import TOLERANCE
from .models import seeded, transferred
from .reference import REFERENCES
from .tiny import generic


@pytest.mark.parametrize("options", [
    {"n": 2}, {"lpu": False, "conv_mlp": False}, {"layer_scale": 0.5, "pe": "table", "q_size": (5, 4)},
    {"stride": 2, "num_groups": 2, "kernel_size": 5, "offset_range": 2, "pe": "log_cpb"}, {"sr_ratio": 2},
    {"no_off": True}, {"window_size": 5, "mlp_ratio": 2},
], ids=str)  # fmt: skip
def test_every_block_and_option(options: dict) -> None:
    """A letter or an option would not mean what it means in the original."""
    torch.manual_seed(0)
    module = generic(DATStage(8, blocks="LSDPX", num_heads=2, **{"window_size": 3, **options})).double()
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["DATStage"](module, x), **TOLERANCE[torch.float64])


def test_options_reach_the_blocks() -> None:
    """An option would be taken without any effect."""
    deformable = {"stride": 2, "num_groups": 2, "offset_range": 3, "pe": "table", "q_size": (7, 7), "no_off": True}
    stage = DATStage(
        8, 2, "LSDPX", 2, 5, kernel_size=7, sr_ratio=3, mlp_ratio=2, layer_scale=0.1, drop=0.25, attn_drop=0.5,
        **deformable,
    )  # fmt: skip
    local, shifted, moved, pyramid, conv = (block.attn for block in stage.blocks[5:])
    kinds = ["LocalAttention", "ShiftWindowAttention", "DAttention", "PyramidAttention", "Conv2d"]
    assert [type(block.attn).__name__ for block in stage.blocks] == kinds * 2
    assert len(stage.local_perception_units) == 10 and len(DATStage(8, lpu=False).local_perception_units) == 0
    assert local.window_size == shifted.window_size == (5, 5) and shifted.shift_size == 3 and conv.kernel_size == (5, 5)
    assert {k: getattr(moved, k) for k in deformable} == deformable and moved.conv_offset[0].kernel_size == (7, 7)
    assert pyramid.sr_ratio == 3
    for block in stage.blocks:
        assert block.mlp.linear1[0].out_channels == 16 and block.mlp.drop.p == 0.25
    for block in stage.blocks[:4]:
        assert block.attn.num_heads == 2 and block.attn.attn_drop == 0.5 and block.attn.proj_drop.p == 0.25
        assert block.scale1.weight.tolist() == block.scale2.weight.tolist() == pytest.approx([0.1] * 8)
    assert DATStage(64, blocks="LSDP", head_dim=16).blocks[3].attn.num_heads == 4


@pytest.mark.parametrize("make, message", [
    (lambda: DATStage(64, blocks="LN"), "DATStage: blocks must be a text of the letters L, S, D, P and X, got 'LN'"),
    (lambda: DATStage(64, blocks=""), "blocks must be a text of the letters L, S, D, P and X, got ''"),
    (lambda: DATStage(64, blocks=["L", "D"]), r"blocks must be a text .*, got \['L', 'D'\]. Write LD, say."),
    (lambda: DATStage(64, blocks="X", window_size=8), "must be odd where blocks has an X, got 8. Choose 9"),
    (lambda: DATStage(64, n=0), "n must be a positive integer, got 0"),
    (lambda: DATStage(64, window_size=(7, 7)), r"window_size must be a positive integer, got \(7, 7\)"),
    (lambda: DATStage(64, lpu=1), "lpu must be True or False, got 1"),
    (lambda: DATStage(64, conv_mlp=1), "conv_mlp must be True or False, got 1"),
    (lambda: DATStage(12), "LocalAttention: num_heads must divide dim"),
    (lambda: DATStage(64, pe="table"), "DAttention: q_size must be given for pe='table'"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_around_the_stages_follow() -> None:
    """Of a pretrained YOLOv8 the stem, the neck and the head would be lost with the backbone's C2f."""
    stock = seeded(host.load_yaml("yolov8n.yaml"))
    ours = seeded(yolo_attn.insert("yolov8n-dat-backbone.yaml", "SE", "sppf"), like=stock)  # moves the layers behind
    kept = {k: v for k, v in stock.state_dict().items() if not re.match(r"model\.[2468]\.", k)}
    assert transferred(ours, stock)[0] == len(kept)
    state = ours.state_dict()
    number = lambda k: int(k.split(".")[1])  # noqa: E731
    assert all(
        torch.equal(state[k.replace(f".{number(k)}.", f".{number(k) + (number(k) > 9)}.", 1)], v)
        for k, v in kept.items()
    )
