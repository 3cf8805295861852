"""The modules compute what the official implementations compute."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from .golden import ROOT, Case, cases
from .official import TABLE, Ours


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
    state = {our_name(ours, k): v for k, v in case.part("state").items() if not ours.ignored(k, case)}
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
        if k not in noise and not ours.ignored(k, case):
            p = parameters[our_name(ours, k)]
            got[f"gparam/{k}"] = torch.zeros_like(p) if p.grad is None else p.grad
    buffers = dict(module.named_buffers())
    return got | {f"after/{k}": buffers[our_name(ours, k)] for k in case.part("after")}


@pytest.mark.parametrize("case", cases(), ids=str)
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
    assert cases() or ("GOLDEN_DIR" not in os.environ and not ROOT.exists())
