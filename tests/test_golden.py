"""The modules compute what the official implementations compute."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo_attn.modules import AFF, DAF, GCT, MS_CAM, SE, DAttention, iAFF
from yolo_attn.modules.dat import LayerScale, TransformerMLP, TransformerMLPWithConv
from yolo_attn.modules.dattention import LayerNormProxy

from .golden import ROOT, Case, cases


@dataclass(frozen=True)
class Ours:
    """Our counterpart of an official class: how to build it, its parameters' names, how to call it."""

    build: Callable[..., nn.Module]
    names: dict[str, str] = field(default_factory=dict)  # official prefix -> ours
    call: Callable[..., Any] = lambda module, *inputs: module(*inputs)
    bugs: dict[str, Callable[[Case], bool]] = field(default_factory=dict)  # reason -> whether the case shows the bug
    refuses: Callable[[Case], bool] = lambda case: False  # options that our class doesn't take


def dattention(n_heads, n_head_channels, **official):
    flags = {"none": not official.pop("use_pe"), "dwc": official.pop("dwc_pe")}
    flags |= {"fixed": official.pop("fixed_pe"), "log_cpb": official.pop("log_cpb"), "table": True}  # in this order
    names = {"n_groups": "num_groups", "ksize": "kernel_size", "offset_range_factor": "offset_range"}
    official.pop("kv_size")  # official code ignores it
    options = {names.get(k, k): v for k, v in official.items()}
    return DAttention(
        n_heads * n_head_channels, num_heads=n_heads, pe=next(pe for pe, on in flags.items() if on), **options
    )


def timm_se(channels, rd_ratio=1 / 16, rd_channels=None, rd_divisor=8, bias=True):
    rounded = max(rd_divisor, int(channels * rd_ratio + rd_divisor / 2) // rd_divisor * rd_divisor)
    return SE(channels, bias=bias, hidden_dim=rd_channels or rounded)


def one_free_key(case: Case) -> bool:
    """A single key point on an axis that may move freely: its stored grid position is infinite."""
    free = case.about["constructor_kwargs"]["offset_range_factor"] < 0
    return free and not case.part("out")["reference"].isfinite().all()


def even_kernel(case: Case) -> bool:
    options = case.about["constructor_kwargs"]
    return options["ksize"] % 2 == 0 and options["ksize"] != options["stride"]


TABLE = {
    "DAT.DAttentionBaseline": Ours(
        dattention,
        call=DAttention.attend,
        bugs={"a grid of one point lies at infinity and is clamped to the corner; ours is at the centre": one_free_key},
        refuses=even_kernel,  # one row and column of keys too many
    ),
    "DAT.LayerNormProxy": Ours(LayerNormProxy),
    "DAT.LayerScale": Ours(lambda dim, init_values=1e-5: LayerScale(dim, init_values)),
    "DAT.TransformerMLP": Ours(lambda channels, expansion, drop=0.0: TransformerMLP(channels, expansion, drop)),
    "DAT.TransformerMLPWithConv": Ours(
        lambda channels, expansion, drop=0.0: TransformerMLPWithConv(channels, expansion, drop)
    ),
    "GCT.GCT": Ours(
        lambda num_channels, epsilon=1e-5, mode="l2", after_relu=False: GCT(num_channels, epsilon, mode, after_relu)
    ),
    "open-aff.DAF": Ours(lambda: DAF(1, in_channels=[1, 1])),  # no parameters: any width
    "open-aff.MS_CAM": Ours(lambda channels=64, r=4: MS_CAM(channels, r)),
    "open-aff.AFF": Ours(lambda channels=64, r=4: AFF(channels, r)),
    "open-aff.iAFF": Ours(lambda channels=64, r=4: iAFF(channels, r)),
    "SE.SEPaper": Ours(
        lambda channel, reduction=16, bias=True: SE(channel, reduction, bias), {"fc.0.": "fc1.", "fc.2.": "fc2."}
    ),
    "SE.timm_SEModule": Ours(timm_se),
}  # official symbol -> our class and argument names


def our_name(ours: Ours, official: str) -> str:
    for old, new in ours.names.items():
        if official.startswith(old):
            return new + official.removeprefix(old)
    return official


def run(case: Case) -> dict[str, Tensor]:
    """Everything that the case stores, computed by our module, under the case's own keys."""
    ours = TABLE[case.about["symbol"]]
    module = ours.build(**case.about["constructor_kwargs"])
    shapes = {k: v.shape for k, v in module.state_dict().items()}
    state = {our_name(ours, k): v for k, v in case.part("state").items()}
    # a linear layer is a 1x1 convolution; any other difference in shape is left to strict loading
    state = {k: v.reshape(shapes[k]) if shapes.get(k) == (*v.shape, 1, 1) else v for k, v in state.items()}
    module.load_state_dict(state, strict=True)
    module.train(case.about["mode"] == "train")
    inputs = case.inputs()
    result = ours.call(module, *inputs.values())
    wanted = case.part("out")
    outputs = dict(zip(case.about["outputs"], result if isinstance(result, tuple) else (result,), strict=True))
    assert outputs.keys() == wanted.keys()
    got = {f"out/{k}": v for k, v in outputs.items()}
    sum((outputs[k] * w).sum() for k, w in case.part("lossw").items()).backward()
    got |= {f"gin/{k}": inputs[k].grad for k in case.part("gin")}
    parameters = dict(module.named_parameters())
    noise = case.about["numerically_zero_grad_params"]
    for k in case.part("gparam"):
        if k not in noise:
            p = parameters[our_name(ours, k)]
            got[f"gparam/{k}"] = torch.zeros_like(p) if p.grad is None else p.grad
    buffers = dict(module.named_buffers())
    return got | {f"after/{k}": buffers[our_name(ours, k)] for k in case.part("after")}


@pytest.mark.parametrize("case", [c for c in cases() if c.about["symbol"] in TABLE], ids=str)
def test_official_numbers(case: Case) -> None:
    """Outputs, gradients or BatchNorm buffers would differ from the official code with the official weights."""
    if TABLE[case.about["symbol"]].refuses(case):
        with pytest.raises(ValueError, match="must"):
            run(case)
        return
    bugs = [reason for reason, shown in TABLE[case.about["symbol"]].bugs.items() if shown(case)]
    mismatches = case.mismatches(run(case))
    if bugs or "official_bug" in case.about["tags"]:
        assert mismatches, f"matches numbers that hold a bug: {bugs or case.about['notes']}"
    else:
        assert not mismatches, "\n".join(mismatches)


def test_the_folder_that_was_asked_for_has_cases() -> None:
    """A wrong GOLDEN_DIR would pass, because nothing is compared."""
    covered = [case for case in cases() if case.about["symbol"] in TABLE]
    assert covered or ("GOLDEN_DIR" not in os.environ and not ROOT.exists())
