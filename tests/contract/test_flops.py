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


@pytest.mark.parametrize("name", ["CrossFormerBlock", "LocalAttention", "ShiftWindowAttention"])
def test_padding_is_not_counted(name: str) -> None:
    """A pixel would cost as much as a whole group where maps are small, and a module be faster than a product."""
    module = build(name)
    counted = [flops_of(lambda: module(*inputs(name, (side, side), 1))) for side in (12, 13)]  # noqa: B023
    assert counted[0] < counted[1] < 1.3 * counted[0]
