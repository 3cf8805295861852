"""What a module is said to compute."""

from __future__ import annotations

import pytest

from yolo_attn.measure import flops_of

from ..tiny import as_clip, build, each_module, inputs


@each_module
def test_flops_are_those_of_the_mechanism(name: str) -> None:
    """Ways that are faster on a CPU, by other operations, would make a module look cheaper than on another device."""
    counted = []
    for device in ("cpu", "meta"):
        module, x = build(name).to(device), [t.to(device) for t in inputs(name, (20, 20))]
        with as_clip(module):
            counted.append(flops_of(lambda: module(*x)))  # noqa: B023
    assert counted[0] == pytest.approx(counted[1])
