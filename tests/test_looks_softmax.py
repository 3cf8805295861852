"""What softmax attention looks at: the weights that the modules' results are made with, told from outside.

Every module is changed so that its result is that of its attention alone, with values that are the same in every head.
The results must then be the values' sums with the weights that `looks` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolo_attn import modules
from yolo_attn.modules import NonLocal
from yolo_attn.visualization import softmax
from yolo_attn.visualization.looks import Weights, looks

from .conftest import TOLERANCE
from .contract.test_memory import FACTOR, Largest
from .tiny import generic

SIZES = [(1, 1), (1, 7), (7, 5), (20, 13)]
WIDTHS = {"CrossFormerBlock": 64}


class Zero(nn.Module):
    """In place of a layer whose result is added."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Bare:
    """How a class shows the result of its attention alone.

    Attributes:
        bare: Changes a module so that it gives that result.
        values: The values (1, C, H, W) of all pixels.
        value: The layer that makes them, as its last C channels.
        skip: Whether the input is added.
    """

    bare: Callable[[nn.Module], None]
    values: Callable[[nn.Module, Tensor], Tensor]
    value: str | None = None
    skip: bool = False


def become(**layers: object) -> Callable[[nn.Module], None]:
    """Replace layers by their names, with __ for a dot."""

    def bare(module: nn.Module) -> None:
        for name, layer in layers.items():
            *outer, last = name.split("__")
            setattr(module.get_submodule(".".join(outer)), last, layer)

    return bare


def by_key(module: nn.Module, x: Tensor) -> Tensor:
    """The value of a pixel is that of the key which it is a part of; of those that are in no key, none."""
    r, (h, w) = module.sr_ratio, x.shape[2:]
    x = F.pad(x, (0, max(r - w, 0), 0, max(r - h, 0)))
    v = module.kv(module.proj_ds(x)).chunk(2, 1)[1].repeat_interleave(r, 2).repeat_interleave(r, 3)[:, :, :h, :w]
    return F.pad(v, (0, w - v.shape[3], 0, h - v.shape[2]))


def by_window(module: nn.Module, x: Tensor) -> Tensor:
    return module.proj_qkv(x.permute(0, 2, 3, 1)).chunk(3, -1)[2].permute(0, 3, 1, 2)


def by_group(module: nn.Module, x: Tensor) -> Tensor:
    y = module.norm1(x.permute(0, 2, 3, 1))
    if module.cpe is not None:
        y = y + module.norm_cpe(module.cpe(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    return module.attn.qkv(y).chunk(3, -1)[2].permute(0, 3, 1, 2)


ONE = nn.Parameter(torch.ones(1, dtype=torch.float64))
SAME = nn.Identity().eval()
WINDOW = Bare(become(proj_out=SAME), by_window, "proj_qkv")
BARE = {
    "MHSA": Bare(become(proj=SAME), lambda m, x: m.qkv(x).chunk(3, 1)[2], "qkv"),
    "LocalAttention": WINDOW,
    "ShiftWindowAttention": WINDOW,
    "CrossFormerBlock": Bare(become(attn__proj=SAME, mlp=Zero()), by_group, "attn.qkv", skip=True),
    "NonLocal": Bare(become(out=SAME, bn=SAME), lambda m, x: m.g(x), skip=True),
    "PositionAttention": Bare(become(gamma=ONE), lambda m, x: m.value_conv(x), skip=True),
    "CrissCross": Bare(become(gamma=ONE), lambda m, x: m.value_conv(x), skip=True),
    "DoubleAttention": Bare(become(conv_reconstruct=SAME), lambda m, x: m.convA(x), skip=True),
    "BiLevelRouting": Bare(
        become(output_linear=SAME, lepe=Zero()), lambda m, x: m.qkv_linear(x).chunk(3, 1)[2], "qkv_linear"
    ),
    "PyramidAttention": Bare(become(proj=SAME), by_key, "kv"),
    "GlobalContext": Bare(become(channel_add_conv=SAME), lambda m, x: x, skip=True),
}
CASES: list[tuple[str, dict]] = [
    ("MHSA", {"num_heads": 1}),
    ("MHSA", {"num_heads": 4}),
    ("MHSA", {"num_heads": 2, "pe": "absolute"}),
    ("MHSA", {"num_heads": 2, "pe": "relative", "qkv_bias": False}),
    ("LocalAttention", {"num_heads": 2, "window_size": (3, 2)}),
    ("LocalAttention", {"num_heads": 1, "window_size": 7}),
    ("ShiftWindowAttention", {"num_heads": 2, "window_size": 3}),
    ("ShiftWindowAttention", {"num_heads": 2, "window_size": (3, 4), "shift_size": 1}),
    ("CrossFormerBlock", {"group_size": 3}),
    ("CrossFormerBlock", {"group_size": 2, "interval": 2, "long_distance": True}),
    ("CrossFormerBlock", {"group_size": 2, "interval": 3, "long_distance": True, "split_padding": True}),
    ("CrossFormerBlock", {"group_size": 3, "use_cpe": True, "use_extra_conv": False, "qk_scale": 0.5}),
    ("CrossFormerBlock", {"group_size": 3, "no_mask": True, "qkv_bias": False}),
    ("CrossFormerBlock", {"group_size": 2, "long_distance": True, "no_mask": True, "split_padding": True,
                          "qkv_bias": False, "interval": 2}),
    ("CrossFormerBlock", {"group_size": 13, "detection": True}),  # one group
    ("CrossFormerBlock", {"group_size": 2, "long_distance": True, "adaptive_interval": True, "detection": True}),
    ("NonLocal", {"reduction": 1}),
    ("NonLocal", {"reduction": 1, "use_scale": False}),
    ("PositionAttention", {}),
    ("CrissCross", {"recurrence": 1}),
    ("DoubleAttention", {"c_m": 8, "c_n": 3}),
    ("BiLevelRouting", {"num_heads": 2, "n_win": 3, "topk": 2}),
    ("BiLevelRouting", {"num_heads": 1, "n_win": 7, "topk": 4}),
    ("PyramidAttention", {"num_heads": 2, "sr_ratio": 2}),
    ("PyramidAttention", {"num_heads": 2, "sr_ratio": 3}),
    ("PyramidAttention", {"num_heads": 2, "sr_ratio": 1}),
    ("GlobalContext", {}),
]  # fmt: skip
each_case = pytest.mark.parametrize("name, options", CASES, ids=str)
each_look = pytest.mark.parametrize("name, options", [*CASES, ("CrissCross", {"recurrence": 2})], ids=str)
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def build(name: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    return generic(getattr(modules, name)(WIDTHS.get(name, 8), **options)).double()


def maps(name: str, size: tuple[int, int]) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, WIDTHS.get(name, 8), *size, dtype=torch.float64)


def weights(module: nn.Module, x: Tensor, queries: Tensor | None = None) -> Tensor:
    (look,) = looks(module, x, queries)
    assert isinstance(look, Weights) and not look.map.requires_grad
    assert look.map.shape == x.shape[2:] and look.map.dtype == torch.promote_types(x.dtype, torch.float32)
    return look.map


def alike_in_heads(layer: nn.Module, width: int, heads: int) -> None:
    """Let every head have the values of the first."""
    d = width // heads
    with torch.no_grad():
        for p in layer.parameters():
            p[-width:] = p[-width : len(p) - width + d].repeat(heads, *[1] * (p.ndim - 1))


def pixels(size: tuple[int, int]) -> Tensor:
    """All pixels (H W, 2) of a map."""
    return torch.cartesian_prod(*(torch.arange(n) for n in size))


def some(size: tuple[int, int]) -> Tensor:
    """Three pixels, or one."""
    return pixels(size)[torch.randperm(size[0] * size[1])[:3]]


@each_size
@each_case
def test_results_are_sums_of_values(name: str, options: dict, size: tuple[int, int]) -> None:
    """A picture would show other weights than those that the module has used."""
    module, x, way = build(name, options), maps(name, size), BARE[name]
    attention = getattr(module, "attn", module)
    heads = getattr(attention, "num_heads", 1)
    if way.value:
        alike_in_heads(module.get_submodule(way.value), x.shape[1], heads)
    for queries in (some(size)[:1], some(size), None):
        told = weights(module, x, queries)
        bare = deepcopy(module)
        way.bare(bare)
        result = bare(x) - x if way.skip else bare(x)
        at = (slice(None), slice(None)) if queries is None else queries.unbind(1)
        want = result[0][(slice(None), *at)].flatten(1).mean(1).unflatten(0, (heads, -1)).mean(0)
        found = (way.values(module, x)[0] * told).sum((1, 2)).unflatten(0, (heads, -1)).mean(0)
        torch.testing.assert_close(found, want, **TOLERANCE[torch.float64])


@each_size
@each_look
def test_weights_sum_to_one(name: str, options: dict, size: tuple[int, int]) -> None:
    """Padding would have a share of what a picture shows, or pixels would have one that is none."""
    module, x = build(name, options), maps(name, size)
    told = weights(module, x)
    assert told.min() >= 0
    if options.get("no_mask") and module.groups(size).padded:  # which has a share
        assert told.sum() < 1 - 1e-3
    else:
        torch.testing.assert_close(told.sum(), told.new_ones(()), **TOLERANCE[torch.float64])


@each_look
def test_all_queries_are_the_mean_of_each(name: str, options: dict) -> None:
    """The picture of a whole map would not be that of its pixels."""
    module, x = build(name, options), maps(name, (7, 5))
    each = torch.stack([weights(module, x, query[None]) for query in pixels((7, 5))])
    torch.testing.assert_close(weights(module, x), each.mean(0), **TOLERANCE[torch.float64])
    twice = torch.tensor([[6, 1], [2, 4], [6, 1]])
    torch.testing.assert_close(weights(module, x, twice), (2 * each[31] + each[14]) / 3, **TOLERANCE[torch.float64])


def neighbours(name: str, options: dict, size: tuple[int, int], query: Tensor) -> Tensor:
    """Which pixels of a map share the window, group, row or column of a query."""
    y, x = (each.view(size) for each in pixels(size).unbind(1))
    i, j = query.tolist()
    if name == "CrissCross":
        return (y == i) | (x == j)
    if name == "CrossFormerBlock":
        g, step = options["group_size"], options["interval"] if options.get("long_distance") else 1
        top, left = ((-n % (g * step)) // 2 if options.get("split_padding") else 0 for n in size)
        same = [
            ((p + a) // (g * step) == (q + a) // (g * step)) & ((p + a) % step == (q + a) % step)
            for p, q, a in ((y, i, top), (x, j, left))
        ]
        return same[0] & same[1]
    gh, gw = options["window_size"]
    shift = options.get("shift_size", 0)
    return ((y - shift) // gh == (i - shift) // gh) & ((x - shift) // gw == (j - shift) // gw)


@pytest.mark.parametrize("name, options", [
    ("LocalAttention", {"window_size": (3, 2)}),
    ("ShiftWindowAttention", {"window_size": (3, 4), "shift_size": 1}),
    ("CrossFormerBlock", {"group_size": 3}),
    ("CrossFormerBlock", {"group_size": 2, "interval": 2, "long_distance": True}),
    ("CrossFormerBlock", {"group_size": 2, "interval": 3, "long_distance": True, "split_padding": True}),
    ("CrossFormerBlock", {"group_size": 2, "interval": 3, "long_distance": True, "no_mask": True}),
    ("CrissCross", {"recurrence": 1}),
], ids=str)  # fmt: skip
def test_nothing_outside_the_group(name: str, options: dict) -> None:
    """A picture would show a window, group or cross at another place than it is."""
    module, size = build(name, options), (7, 5)
    for query in pixels(size):
        seen = weights(module, maps(name, size), query[None]).gt(0)
        assert torch.equal(seen, neighbours(name, options, size, query)), query


def test_whole_regions_are_seen() -> None:
    """A picture would show other regions than the k that are chosen."""
    module, x = build("BiLevelRouting", {"num_heads": 2, "n_win": 3, "topk": 2}), maps("BiLevelRouting", (9, 6))
    for query in pixels((9, 6)):
        seen = weights(module, x, query[None]).gt(0).double()
        regions = F.avg_pool2d(seen[None], (3, 2))
        assert set(regions.unique().tolist()) == {0, 1} and regions.sum() == 2


def test_local_values_are_no_attention() -> None:
    """The convolution that BiLevelRouting adds would count as attention to the neighbours."""
    module, x = build("BiLevelRouting", {"num_heads": 2, "n_win": 3, "topk": 2}), maps("BiLevelRouting", (7, 5))
    queries = some((7, 5))
    told = weights(module, x, queries)
    nn.init.zeros_(module.lepe.weight)
    assert torch.equal(told, weights(module, x, queries))


def test_criss_cross_reaches_by_all_passes() -> None:
    """Two passes would show a cross only, or not what the second one finds in the result of the first."""
    x, size = maps("CrissCross", (4, 5)), (4, 5)
    twice, once = (build("CrissCross", {"recurrence": r}) for r in (2, 1))
    second = once(x)
    for query in some(size):
        cross = weights(once, second, query[None])
        want = sum(cross[i, j] * weights(once, x, torch.tensor([[i, j]])) for i, j in pixels(size).tolist())
        told = weights(twice, x, query[None])
        assert told.min() > 0
        torch.testing.assert_close(told, want, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("name", ["CrissCross", "PositionAttention"])
def test_a_start_as_the_identity(name: str) -> None:
    """A new module, which adds nothing yet, would look at nothing."""
    module, x = build(name, {}), maps(name, (7, 5))
    nn.init.zeros_(module.gamma)
    assert weights(module, x).sum() == pytest.approx(1)


def test_left_over_rows_are_not_seen() -> None:
    """Keys of PyramidAttention would be shown beside the pixels that they are made of."""
    told = weights(build("PyramidAttention", {"num_heads": 2, "sr_ratio": 3}), maps("PyramidAttention", (7, 5)))
    assert told[6:].eq(0).all() and told[:, 3:].eq(0).all()
    assert told[:3, :3].unique().numel() == told[3:6, :3].unique().numel() == 1


@pytest.mark.parametrize("fusion", ["scale", "both"])
def test_gates_of_global_context(fusion: str) -> None:
    """What the channels are scaled by would be missing, or have what is added in it."""
    module, x = build("GlobalContext", {"fusion": fusion}), maps("GlobalContext", (7, 5))
    seen, gates = looks(module, x)
    added = 0 if fusion == "scale" else module.channel_add_conv((x * seen.map).sum((2, 3), keepdim=True))
    torch.testing.assert_close(x * gates.channels[:, None, None] + added, module(x), **TOLERANCE[torch.float64])


def test_products_are_no_shares() -> None:
    """Products of either sign would be shown as shares of a whole."""
    assert looks(NonLocal(8, mode="dot_product").eval(), torch.randn(1, 8, 4, 4)) == []


@each_look
def test_a_look_leaves_no_trace(name: str, options: dict) -> None:
    """A model would keep hooks or other weights, or there would be an error in the mode that `predict` works in."""
    module, x = build(name, options).float(), maps(name, (7, 5)).float()
    ran: list[nn.Module] = []
    module.register_forward_hook(lambda *given: ran.append(given[0]))
    before = deepcopy(module.state_dict())
    want = weights(module, x)
    with torch.no_grad():
        assert torch.equal(weights(module, x), want)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        made = generic(getattr(modules, name)(x.shape[1], **options))  # parameters of inference mode
        made.load_state_dict(before)
        for each in (module, made):
            torch.testing.assert_close(weights(each, x.clone()), want, **TOLERANCE[torch.float32])
    assert not ran and not any(p.grad is not None for p in module.parameters())
    assert all(p.requires_grad for p in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    hooks = [each for m in module.modules() for each in (*m._forward_hooks, *m._forward_pre_hooks)]
    assert len(hooks) == 1


@each_look
def test_half_precision(name: str, options: dict) -> None:
    """Weights of many pixels would vanish in the half precision of a checkpoint."""
    half = build(name, options).bfloat16()
    x = maps(name, (7, 5)).bfloat16()
    torch.testing.assert_close(
        weights(half, x), weights(deepcopy(half).float(), x.float()), **TOLERANCE[torch.bfloat16]
    )
    assert weights(half, x).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("name, options", [
    *CASES,
    ("CrossFormerBlock", {"group_size": 160, "detection": True}),  # one group of all pixels
    ("CrissCross", {"recurrence": 2}),
], ids=str)  # fmt: skip
def test_all_queries_take_linear_memory(name: str, options: dict) -> None:
    """The weights of all pairs of pixels would take gigabytes at the first maps of a detector."""
    module, seen = build(name, options).float(), []
    for side in (40, 80):
        with Largest() as largest:
            weights(module, maps(name, (side, side)).float())
        seen.append(largest.most)
    assert seen[1] <= FACTOR * seen[0]


def test_every_look_is_held() -> None:
    """A class would have a look that no test compares with its results."""
    told = {each.__name__ for each, look in looks.registry.items() if look.__module__ == softmax.__name__}
    assert told | {"ShiftWindowAttention"} == set(BARE) == {name for name, _ in CASES}
