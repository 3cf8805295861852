"""ECA, ESE, GlobalContext, GatherExcite, SRM, LCT, GaussianContext, NAM, FcaNet: options, starts and bad arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_attn import modules
from yolo_attn.modules import ECA, ESE, LCT, NAM, SE, SRM, FcaNet, GatherExcite, GaussianContext, GlobalContext
from yolo_attn.modules.fcanet import FREQUENCIES, dct_bases

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic

GATES = [ECA, ESE, GlobalContext, GatherExcite, SRM, LCT, GaussianContext, NAM, FcaNet]
OPTIONS = [
    ("ECA", (8, 5)),
    ("ECA", (16, None, 1, 3)),
    ("ESE", (8, "sigmoid")),
    ("GlobalContext", (8, 2, "scale")),
    ("GlobalContext", (8, 2, "both")),
    ("GatherExcite", (8,)),
    ("GatherExcite", (8, 4)),
    ("GatherExcite", (8, 2, True)),
    ("GatherExcite", (8, 2, False, True, 2)),
    ("GatherExcite", (8, 0, False, True, 2)),
    ("LCT", (12,)),
    ("LCT", (8, 1)),
    ("GaussianContext", (8, 0.5)),
    ("FcaNet", (8, 2, "low8")),
    ("FcaNet", (8, 2, "bot2")),
    ("FcaNet", (24,)),
]


@pytest.mark.parametrize("name, arguments", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (9, 8)], ids=str)
def test_options(name: str, arguments: tuple, size: tuple[int, int]) -> None:
    """An option would give something else than the equations, as the tiny instance has one setting of each only."""
    torch.manual_seed(0)
    module = generic(getattr(modules, name)(*arguments)).double()
    x = torch.randn(2, arguments[0], *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES[name](module, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("cls", GATES)
def test_defaults_at_every_width(cls: type[nn.Module]) -> None:
    """A row without arguments would stop, or let nothing but a constant through, at the width of some scale."""
    for dim in (1, 16, 24, 48, 80, 96, 144, 160, 288, 448, 768, 1024):
        module, x = cls(dim), torch.randn(2, dim, 3, 2)
        assert module(x).isfinite().all(), dim
        assert dim == 1 or not isinstance(module, LCT) or module.groups[1] >= 4, dim


@pytest.mark.parametrize("dim, size", [(16, 3), (64, 3), (128, 5), (512, 5), (1024, 5)])
def test_eca_kernel_sizes(dim: int, size: int) -> None:
    """Weights of the official code, whose size follows from the width, would not fit."""
    assert ECA(dim).conv.kernel_size == (size,)


def test_gather_excite_of_the_whole_map_with_a_bottleneck_is_se() -> None:
    """The docstring would say so wrongly."""
    one, other = generic(GatherExcite(8, use_mlp=True, reduction=2)), SE(8, 2)
    other.load_state_dict({k.removeprefix("mlp."): v for k, v in one.state_dict().items()})
    x = torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(one(x), other(x))


def test_a_learned_gaussian_starts_where_it_is_told() -> None:
    """The width would be ignored where it is learned."""
    x = torch.randn(2, 8, 3, 3)
    for c in (1.5, 2.0, 3.5):
        torch.testing.assert_close(GaussianContext(8, c, learned=True)(x), GaussianContext(8, c)(x))


@pytest.mark.parametrize("make", [lambda: SRM(8), lambda: GatherExcite(8, 8, extra_params=True)])
def test_one_value_per_channel_leaves_the_running_statistics(make) -> None:
    """One image in training would spoil the statistics behind a pooling, or raise."""
    module, counts = make().train(), lambda: [m.num_batches_tracked for m in module.modules() if hasattr(m, "momentum")]
    module(torch.randn(1, 8, 1, 1))
    assert not any(counts())
    module(torch.randn(2, 8, 1, 1))
    assert all(counts())


def test_srm_of_equal_pixels_has_a_gradient() -> None:
    """The slope of a square root at zero, of a map without any deviation, would make all weights NaN."""
    module, x = generic(SRM(4)), torch.ones(2, 4, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    assert gradient.isfinite().all()


def test_nam_with_negative_scale_factors() -> None:
    """Factors of both signs would cancel in the sum that divides them, and a negative one count as unimportant."""
    module = generic(NAM(4)).double()
    module.bn.weight.data = torch.tensor([0.5, -1.5, 1.0, -0.1]).double()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["NAM"](module, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("kind", FREQUENCIES)
def test_frequencies_differ(kind: str) -> None:
    """A slip in a table would pool two groups of channels by one basis, or by one that 7 pixels don't have."""
    numbers = FREQUENCIES[kind].split()
    assert len(set(numbers)) == len(numbers) == 32
    assert set("".join(numbers)) <= set("0123456")


@pytest.mark.parametrize("h, w", [(7, 7), (20, 13)])
def test_bases_are_those_of_the_size(h: int, w: int) -> None:
    """Bases of another size than the map's are not orthogonal; of another weight, a gate would follow the size."""
    frequencies = tuple((u, v) for u in range(7) for v in range(7))
    bases = dct_bases(torch.empty(0, dtype=torch.float64), h, w, frequencies)
    torch.testing.assert_close(bases @ bases.T, torch.eye(49, dtype=torch.float64) * 49 / (h * w))


def test_a_map_smaller_than_the_frequencies() -> None:
    """Channels would be pooled to zero, by a cosine that is zero at every pixel, with a gate of 1/2 for ever."""
    for size in ((1, 1), (2, 3), (1, 20)):
        bases = dct_bases(torch.empty(0), *size, tuple((u, v) for u in range(7) for v in range(7)))
        assert (bases.norm(dim=1) > 1).all()


@pytest.mark.parametrize("make, message", [
    (lambda: ECA(8, 4), "ECA: kernel_size must be odd, got 4. Take 5, say"),
    (lambda: ECA(8, 0), "ECA: kernel_size must be a positive integer, got 0"),
    (lambda: ECA(8, gamma=0), "ECA: gamma must be a number from 0.001, got 0"),
    (lambda: ESE(8, "tanh"), "ESE: gate must be one of hard_sigmoid, sigmoid, got 'tanh'"),
    (lambda: GlobalContext(8, 4, "mul"), "GlobalContext: fusion must be one of add, scale, both, got 'mul'"),
    (lambda: GatherExcite(8, 3), "GatherExcite: extent must be one of 0, 2, 4, 8, 16, 32, 64, got 3"),
    (lambda: GatherExcite(8, True), "GatherExcite: extent must be one of 0, 2, 4, 8, 16, 32, 64, got True"),
    (lambda: GatherExcite(8, 2.0), "GatherExcite: extent must be one of 0, 2, 4, 8, 16, 32, 64, got 2.0"),
    (lambda: GatherExcite(8, extra_params=True), "must be one of 2, 4, 8, 16, 32, 64 with extra_params, got 0"),
    (lambda: SRM(0), "SRM: dim must be a positive integer, got 0"),
    (lambda: LCT(8, 3), "LCT: num_groups must divide dim, got num_groups=3 and dim=8. Choose one of 1, 2, 4, 8"),
    (lambda: LCT(8, 8), "LCT: num_groups must leave two channels in a group, got 8 of 8. Take 2, say"),
    (lambda: GaussianContext(8, 0), "GaussianContext: c must be a number from 0.1 to 10, got 0"),
    (lambda: GaussianContext(8, 5, True), "GaussianContext: c must be a number from 1.01 to 3.99, got 5"),
    (lambda: NAM(1.5), "NAM: dim must be a positive integer, got 1.5"),
    (lambda: FcaNet(8, 2, "top3"), "FcaNet: freq_sel_method must be one of top1, top2, top4,"),
    (lambda: FcaNet(24, 2, "top16"), "must divide dim, got top16 and dim=24. Choose one of top1, top2, top4, top8"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
