"""The modules compute what the official implementations compute."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor, nn

from .conftest import TOLERANCE
from .golden import ROOT, Case, cases
from .official import TABLE, Ours


def our_name(ours: Ours, official: str) -> str:
    for old, new in ours.names.items():
        if official.startswith(old):
            return new + official.removeprefix(old)
    return official


def build(case: Case) -> nn.Module:
    """Our module with the case's options, state and mode."""
    ours = TABLE[case.about["symbol"]]
    module = ours.build(**case.about["constructor_kwargs"])
    shapes = {k: v.shape for k, v in module.state_dict().items()}
    state = {our_name(ours, k): v for k, v in case.part("state").items() if not ours.ignored(k, case)}
    # a linear layer is a 1x1 convolution; any other difference in shape is left to strict loading
    state = {k: v.reshape(shapes[k]) if shapes.get(k) == (*v.shape, 1, 1) else v for k, v in state.items()}
    module.load_state_dict(state, strict=True)
    return module.train(case.about["mode"] == "train")


def run(case: Case, module: nn.Module) -> dict[str, Tensor]:
    """Everything that the case stores, computed by our module, under the case's own keys."""
    ours, inputs = TABLE[case.about["symbol"]], case.inputs()
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
    ours = TABLE[case.about["symbol"]]
    if ours.refuses(case):
        with pytest.raises(ValueError, match="must"):
            build(case)
        return
    bugs = [reason for reason, shown in ours.bugs.items() if shown(case)]
    module = build(case)
    got = run(case, module)
    mismatches = case.mismatches(got)
    if not bugs and "official_bug" not in case.about["tags"]:
        assert not mismatches, "\n".join(mismatches)
        return
    assert mismatches, f"matches numbers that hold a bug: {bugs or case.about['notes']}"
    if ours.right:
        with torch.no_grad():
            right = ours.right(module.double(), *(t.double() for t in case.inputs().values()))
        first = got[f"out/{next(iter(case.about['outputs']))}"]
        torch.testing.assert_close(first.detach(), right.to(first.dtype), **TOLERANCE[torch.float32])


def test_the_folder_that_was_asked_for_has_cases() -> None:
    """A wrong GOLDEN_DIR would pass, because nothing is compared."""
    assert cases() or ("GOLDEN_DIR" not in os.environ and not ROOT.exists())
