"""Groups without padding: which pixels they hold, where these go, and what the gradient is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from yolo_attn.modules import (
    CrossFormerBlock,
    LocalAttention,
    ShiftWindowAttention,
    _attention,
    _blocks,
    _by_rows,
    _pieces,
    group_attention,
)
from yolo_attn.modules._attention import attend
from yolo_attn.modules._windows import Groups

from .conftest import TOLERANCE
from .test_attention import Largest
from .tiny import generic

CUTS = [
    Groups((7, 10), (3, 3)),
    Groups((7, 10), (3, 2), split_padding=True),
    Groups((11, 5), (2, 2), interval=3),
    Groups((13, 29), (2, 3), interval=4, split_padding=True),
    Groups((3, 20), (7, 7), interval=8),
    Groups((9, 8), (4, 4), shift=2),
    Groups((1, 9), (3, 5), shift=1),
    Groups((6, 6), (6, 6)),
]
each_cut = pytest.mark.parametrize("groups", CUTS, ids=lambda g: f"{g.size}-{g.group}-{g.interval}-{g.shift}")


def members(groups: Groups) -> list[set[int]]:
    """The pixels of each group, by the padded form: those that padding and the borders of a shift leave together."""
    (h, w), s = groups.size, groups.shift
    pixel = torch.arange(1, h * w + 1).view(1, h, w, 1)
    found = []
    for group in groups.split(pixel)[0, ..., 0].tolist():
        regions: dict[tuple[bool, bool], set[int]] = {}
        for p in (p - 1 for p in group if p):
            regions.setdefault((p // w < s, p % w < s), set()).add(p)
        found += regions.values()
    return found


@each_cut
def test_pieces_are_the_padded_groups_without_padding(groups: Groups) -> None:
    """A pixel would attend to others than in an exported model, or its group have a shape that it has not."""
    (h, w), pieces = groups.size, groups.pieces
    gathered = pieces.gather(torch.arange(2 * h * w, dtype=torch.float64).view(2, h, w, 1)).flatten()
    found = []
    for y, x in pieces.runs():
        shape, count = (y.members, x.members), y.blocks * y.groups * x.blocks * x.groups
        some, gathered = gathered.split(
            [2 * count * shape[0] * shape[1], len(gathered) - 2 * count * shape[0] * shape[1]]
        )
        for group in some.view(-1, *shape).long():
            assert group.diff(dim=0).eq(w * groups.interval).all() and group.diff(dim=1).eq(groups.interval).all()
            found.append(set(group.flatten().tolist()))
    assert gathered.numel() == 0
    want = members(groups)
    want += [{p + h * w for p in group} for group in want]
    assert sorted(map(sorted, found)) == sorted(map(sorted, want))


@each_cut
def test_scatter_is_the_inverse_of_gather(groups: Groups) -> None:
    """Pixels would come back elsewhere, or their gradients."""
    x = torch.randn(2, *groups.size, 3, dtype=torch.float64, requires_grad=True)
    gathered, weight = groups.pieces.gather(x), torch.randn(2, *groups.size, 3, dtype=torch.float64)
    assert torch.equal(groups.pieces.scatter(gathered, 2), x)
    (gathered * groups.pieces.gather(weight)).sum().backward()
    assert torch.equal(x.grad, weight)


@pytest.mark.parametrize("module", [
    LocalAttention(16, 2, 4), ShiftWindowAttention(16, 2, 4), CrossFormerBlock(16, 2, 4, mlp_ratio=1),
    CrossFormerBlock(16, 2, 4, 2, True, mlp_ratio=1), CrossFormerBlock(16, 2, 4, mlp_ratio=1, use_cpe=True),
], ids=lambda m: type(m).__name__)  # fmt: skip
def test_blocks_of_groups_do_not_show(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results or gradients would change with the number of groups that the memory of a CPU takes at once."""
    module, x = generic(module).double(), torch.randn(2, 16, 13, 10, dtype=torch.float64)

    def run() -> list[torch.Tensor]:
        module.zero_grad()
        y = module(x)
        y.square().sum().backward()
        return [y, *(p.grad for p in module.parameters())]

    want = run()
    monkeypatch.setattr(_pieces, "LOGITS", 2 * 16**2 * 3)
    torch.testing.assert_close(run(), want, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("module", [
    ShiftWindowAttention(16, 2, 4), CrossFormerBlock(16, 2, 4, use_extra_conv=True), CrossFormerBlock(16, 2, 40)
], ids=["ShiftWindowAttention", "CrossFormerBlock", "one group"])  # fmt: skip
def test_blocks_of_rows_do_not_show(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation on a CPU would have other results than a training, or images and pixels in another order."""
    module, x = generic(module).double(), torch.randn(3, 16, 13, 10, dtype=torch.float64)
    want = module(x)
    monkeypatch.setattr(_blocks, "NUMBERS", 3 * 16 * 130 * 2)  # two images, or 195 pixels of the MLP
    with torch.no_grad():
        torch.testing.assert_close(module(x), want, **TOLERANCE[torch.float64])


def test_blocks_of_rows_hold_memory() -> None:
    """A validation on a CPU would wait for memory, here of 4 images and of the MLP of all their pixels."""
    module, x = CrossFormerBlock(16, 2, mlp_ratio=32), torch.randn(4, 16, 96, 64)
    with torch.no_grad(), Largest() as seen:
        module(x)
    assert x.nbytes < seen.most <= 4 * _blocks.NUMBERS < 32 * x.nbytes / 8


@pytest.mark.parametrize("scale", [None, 0.3])
def test_a_group_of_a_whole_map(scale: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows of a large group would have the bias of others, or a share of its gradient be lost."""
    module = generic(CrossFormerBlock(16, 2, 12, qk_scale=scale, detection=True, mlp_ratio=1)).double()
    x = torch.randn(2, 16, 12, 7, dtype=torch.float64)
    want = torch.autograd.grad(module(x).square().sum(), [*module.parameters()])
    monkeypatch.setattr(group_attention, "MANY", 12 * 7 - 1)
    monkeypatch.setattr(_by_rows, "LOGITS", 1000)
    got = torch.autograd.grad(module(x).square().sum(), [*module.parameters()])
    torch.testing.assert_close(got, want, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("learns", [False, True], ids=["forward", "backward"])
def test_a_group_of_a_whole_map_in_linear_memory(learns: bool) -> None:
    """The official detection form at an early map would hold the bias of all pairs of its pixels."""
    module, x = CrossFormerBlock(16, 1, 100, detection=True), torch.randn(1, 16, 40, 40)
    with torch.set_grad_enabled(learns), Largest() as seen:
        out = module(x.requires_grad_(learns))
        if learns:
            out.sum().backward()
    assert seen.most < 4 * 40**4 / 8


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_learned_bias(width: int, scale: float | None) -> None:
    """The way without a kernel would be another attention: in its scale, in narrow heads, or in the bias's gradient."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 5, 2, 6, width, dtype=torch.float64)
    bias = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert _attention._without_kernel(q, v, bias)
    results = [f(q, k, v, bias, 0.0, scale=scale) for f in (attend, F.scaled_dot_product_attention)]
    torch.testing.assert_close(*results, **TOLERANCE[torch.float64])
    grads = [torch.autograd.grad(y.square().sum(), bias)[0] for y in results]
    torch.testing.assert_close(*grads, **TOLERANCE[torch.float64])


def test_dropout_with_a_learned_bias() -> None:
    """attn_drop would act on everything but window attention, whose bias is learned."""
    torch.manual_seed(0)
    q = torch.zeros(1, 1, 400, 16)
    bias = torch.zeros(1, 1, 400, 400, requires_grad=True)
    y = attend(q, q, torch.ones_like(q), bias, 0.5)  # each is the share of keys kept, doubled
    assert y.std() > 0.01 and abs(y.mean() - 1) < 0.01
