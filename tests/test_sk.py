"""Selective kernels: options, the choice between paths, one image in training, bad arguments."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules import SK

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


@pytest.mark.parametrize("options", [
    {}, {"paths": 1}, {"paths": 4}, {"dilations": [3, 1]}, {"reduction": 2, "min_width": 1, "num_groups": 1},
], ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
def test_every_option(options: dict) -> None:
    """An option would not do what it says."""
    torch.manual_seed(0)
    module = generic(SK(8, **{"num_groups": 4, **options})).double()
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["SK"](module, x), **TOLERANCE[torch.float64])
    assert len(module.convs) == len(module.projections) == options.get("paths", 2)
    assert module.compress[0].out_channels == (4 if "min_width" in options else 32)


def test_defaults_are_those_of_the_paper() -> None:
    """A row without arguments would be another layer than the paper's: G = 32, r = 16, L = 32, 3x3 and dilated 3x3."""
    module = SK(1024)
    assert [(c[0].dilation, c[0].groups) for c in module.convs] == [((1, 1), 32), ((2, 2), 32)]
    assert module.compress[0].out_channels == 64 and SK(64).compress[0].out_channels == 32


def test_shares_of_the_paths_add_up_to_one() -> None:
    """Paths that agree would not give what they agree on."""
    module = generic(SK(8, 3, [1, 1, 1], 4))
    for conv in module.convs[1:]:
        conv.load_state_dict(module.convs[0].state_dict())
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(module(x), module.convs[0](x), **TOLERANCE[torch.float32])


def test_one_image_in_training_leaves_the_running_statistics() -> None:
    """One image behind the pooling would spoil the statistics, or raise."""
    module = SK(8, num_groups=4).train()
    before = module.compress[1].running_mean.clone()
    module(torch.randn(1, 8, 5, 5))
    assert torch.equal(module.compress[1].running_mean, before)
    module(torch.randn(2, 8, 5, 5))
    assert not torch.equal(module.compress[1].running_mean, before)


@pytest.mark.parametrize("make, message", [
    (lambda: SK(0), "SK: dim must be a positive integer, got 0"),
    (lambda: SK(8), "SK: num_groups must divide dim, got num_groups=32 and dim=8. Choose one of 1, 2, 4, 8"),
    (lambda: SK(64, 0), "SK: paths must be a positive integer, got 0"),
    (lambda: SK(64, 10**9, [1]), "SK: paths must be a number from 1 to 64, got 1000000000"),
    (lambda: SK(64, 2, [1, 2, 3]), r"dilations must be a list of 2 numbers, .*, got \[1, 2, 3\]. Write \[1, 2\]"),
    (lambda: SK(64, 2, 3), "dilations must be a list of 2 numbers, one for each of paths, got 3"),
    (lambda: SK(64, 2, [1, 0]), "SK: dilations must be a positive integer, got 0"),
    (lambda: SK(64, min_width=0), "SK: min_width must be a positive integer, got 0"),
    (lambda: SK(64, reduction=0.5), "SK: reduction must be a positive integer, got 0.5"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
