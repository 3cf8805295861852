"""MHSA, NonLocal, CrissCross, DoubleAttention, DANet's two, polarized and bi-level routing attention: options."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from yolo_attn import modules
from yolo_attn.modules import MHSA, BiLevelRouting, ChannelSelfAttention, CrissCross, criss_cross

from .conftest import TOLERANCE
from .contract.test_memory import FACTOR, SIDES, Largest
from .reference import REFERENCES
from .tiny import generic

NAMES = [
    *("MHSA", "NonLocal", "CrissCross", "DoubleAttention", "PositionAttention", "ChannelSelfAttention"),
    *("PolarizedParallel", "PolarizedSequential", "BiLevelRouting"),
]
WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128, 144, 160, 192, 256, 288, 320, 384, 448, 512, 576, 640, 768, 1024)
OPTIONS = [
    ("MHSA", {"num_heads": 4, "pe": "absolute"}),  # heads of 2 channels: one frequency
    ("MHSA", {"head_dim": 8, "pe": "relative"}),
    ("MHSA", {"num_heads": 2, "qkv_bias": False}),
    ("NonLocal", {"mode": "dot_product"}),
    ("NonLocal", {"use_scale": False, "hidden_dim": 3}),
    ("CrissCross", {"recurrence": 1}),
    ("CrissCross", {"reduction": 2, "recurrence": 3}),
    ("DoubleAttention", {}),
    ("PositionAttention", {"reduction": 1}),
    ("ChannelSelfAttention", {"reverse": False}),
    ("BiLevelRouting", {"num_heads": 1, "n_win": 4, "topk": 3, "side_dwconv": 3}),
    ("BiLevelRouting", {"num_heads": 2, "n_win": 2, "topk": 4}),  # all regions
    ("BiLevelRouting", {"head_dim": 4, "n_win": 1, "topk": 1}),
    ("BiLevelRouting", {}),  # more regions than pixels
]
each_option = pytest.mark.parametrize("name, options", OPTIONS, ids=str)


def build(name: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    return generic(getattr(modules, name)(8, **options))


@each_option
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4)], ids=str)
def test_options_equal_the_reference(name: str, options: dict, size: tuple[int, int]) -> None:
    """An option would compute something else than its docstring says."""
    module, x = build(name, options).double(), torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES[name](module, x), **TOLERANCE[torch.float64])


@each_option
def test_options_are_exported(name: str, options: dict) -> None:
    """A graph made with an option would hold for the size or batch of its example only."""
    module, free = build(name, options), dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    graph = torch.export.export(module, (torch.randn(2, 8, 20, 20),), dynamic_shapes=(free,)).module()
    for shape in ((1, 8, 24, 40), (3, 8, 13, 9)):
        x = torch.randn(shape)
        torch.testing.assert_close(graph(x), module(x), **TOLERANCE["graph"])


@each_option
def test_options_take_linear_memory(name: str, options: dict) -> None:
    """An option would make a matrix of all pairs of pixels, gigabytes at the first maps of a detector."""
    module, seen = build(name, options), []
    for side in SIDES:
        with Largest() as largest:
            module(torch.randn(2, 8, side, side, requires_grad=True)).square().sum().backward()
        seen.append(largest.most)
    assert seen[1] <= FACTOR * seen[0]


@pytest.mark.parametrize("name", NAMES)
def test_defaults_suit_all_widths(name: str) -> None:
    """A row without arguments would be refused at some scale of a model."""
    for width in WIDTHS:
        getattr(modules, name)(width)


def test_equals_torch() -> None:
    """MHSA would be another mechanism than torch's layer, and weights could not be taken over from one."""
    ours, theirs = generic(MHSA(16, 4)).double(), nn.MultiheadAttention(16, 4, batch_first=True).double().eval()
    names = {"qkv": "in_proj_", "proj": "out_proj."}
    state = {names[k.split(".")[0]] + k.split(".")[1]: v.flatten(1) if v.ndim == 4 else v for k, v in params(ours)}
    theirs.load_state_dict(state)
    x = torch.randn(2, 16, 5, 3, dtype=torch.float64)
    pixels = x.flatten(2).transpose(1, 2)
    want = theirs(pixels, pixels, pixels)[0].transpose(1, 2).view_as(x)
    torch.testing.assert_close(ours(x), want, **TOLERANCE[torch.float64])


def params(module: nn.Module) -> list[tuple[str, Tensor]]:
    return list(module.state_dict().items())


@pytest.mark.parametrize("recurrence, reached", [(1, 3 + 5 - 1), (2, 3 * 5)])
def test_criss_cross_reaches(recurrence: int, reached: int) -> None:
    """One application would see more than a row and a column, or two less than the whole map."""
    x = torch.randn(1, 8, 3, 5, requires_grad=True)
    build("CrissCross", {"recurrence": recurrence})(x)[0, :, 1, 2].sum().backward()
    assert int(x.grad.abs().sum(1).gt(0).sum()) == reached


@pytest.mark.parametrize("logits", [1, 200])
def test_criss_cross_by_rows(logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of rows would be put together wrongly, or lose a share of a gradient."""
    module, x = build("CrissCross", {}).double(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    whole = learn(module, x)
    monkeypatch.setattr(criss_cross, "LOGITS", logits)
    torch.testing.assert_close(learn(module, x), whole, **TOLERANCE[torch.float64])


def learn(module: CrissCross, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = module(x)
    return [out, *torch.autograd.grad(out.square().sum(), [x, *module.parameters()])]


def test_criss_cross_is_exported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of blocks would be fixed in a graph, by a large example, and other sizes be refused."""
    monkeypatch.setattr(criss_cross, "LOGITS", 1)
    test_options_are_exported("CrissCross", {})


def test_criss_cross_has_no_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    """All logits of a map, H W (H + W), would be there at once, where blocks of rows are meant to keep them small."""
    monkeypatch.setattr(criss_cross, "LOGITS", 1)
    with Largest() as seen, torch.no_grad():
        CrissCross(8)(torch.randn(1, 8, 96, 96))
    assert seen.most <= 4 * 96 * 96 * 8


def test_far_positions_count_by_distance() -> None:
    """Relative positions would depend on where on the map the pixels are."""
    module = build("MHSA", {"num_heads": 2, "pe": "relative"}).double()
    x = torch.randn(1, 8, 1, 1, dtype=torch.float64).expand(-1, -1, 4, 6)  # alike but for position
    logits: list[Tensor] = []

    def record(q: Tensor, k: Tensor, v: Tensor, **_: object) -> Tensor:
        logits.append((q @ k.transpose(2, 3)).unflatten(3, (4, 6)).unflatten(2, (4, 6)))
        return v

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yolo_attn.modules.mhsa.attend", record)
        module(x)
    near, far = logits[0][..., :3, :5, :3, :5], logits[0][..., 1:, 1:, 1:, 1:]
    torch.testing.assert_close(near, far, **TOLERANCE[torch.float64])
    assert not torch.allclose(near[..., 0, 0, :, :], near[..., 1, 1, :, :])


def test_channels_by_the_official_sign() -> None:
    """A channel would see itself most by default, unlike in the official code."""
    x = torch.zeros(1, 2, 1, 2)
    x[0, 0, 0, 0] = x[0, 1, 0, 1] = 9
    for reverse in (True, False):
        module = ChannelSelfAttention(2, reverse)
        nn.init.ones_(module.gamma)
        torch.testing.assert_close(module(x), x + (x.flip(1) if reverse else x))


@pytest.mark.parametrize("size", [(6, 6), (7, 5)], ids=str)
def test_regions_that_are_not_chosen_make_no_difference(size: tuple[int, int]) -> None:
    """Attention would leak to regions beside the k best."""
    module = BiLevelRouting(8, 2, n_win=3, topk=2)
    nn.init.zeros_(module.lepe.weight)
    x = torch.randn(1, 8, *size, requires_grad=True)
    module(x)[0, :, 0, 0].sum().backward()
    seen = x.grad.abs().sum(1)[0].gt(0)
    assert 1 < seen.sum() <= 1 + 2 * -(-size[0] // 3) * -(-size[1] // 3)


def test_half_precision_chooses_the_same_regions() -> None:
    """Training under autocast would attend to other regions than validation does without."""
    module, x = build("BiLevelRouting", {"num_heads": 2}), torch.randn(2, 8, 40, 40)
    sides = [modules.bi_level_routing.Axis(40, 7, x)] * 2
    want = module._route(x, *sides)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module._route(x, *sides), want)


@pytest.mark.parametrize("make, message", [
    (lambda: MHSA(0), "MHSA: dim must be a positive integer, got 0"),
    (lambda: MHSA(20), "MHSA: num_heads must divide dim, got num_heads=8 and dim=20. Choose one of 1, 2, 4, 5, 10, 20"),
    (lambda: MHSA(16, head_dim=5), "MHSA: head_dim must divide dim, got head_dim=5 and dim=16"),
    (lambda: MHSA(16, pe="table"), "MHSA: pe must be one of none, absolute, relative, got 'table'"),
    (lambda: MHSA(16, qkv_bias=1), "MHSA: qkv_bias must be True or False, got 1"),
    (lambda: MHSA(16, attn_drop=2), "MHSA: attn_drop must be a number from 0 to 1, got 2"),
    (lambda: modules.NonLocal(16, 0), "NonLocal: reduction must be a positive integer, got 0"),
    (lambda: modules.NonLocal(16, mode="gaussian"), "mode must be one of embedded_gaussian, dot_product, got 'gauss"),
    (lambda: CrissCross(16, recurrence=0), "CrissCross: recurrence must be a positive integer, got 0"),
    (lambda: modules.DoubleAttention(16, c_n=0), "DoubleAttention: c_n must be a positive integer, got 0"),
    (lambda: modules.PositionAttention(16, 0.5), "PositionAttention: reduction must be a positive integer, got 0.5"),
    (lambda: ChannelSelfAttention(16, "no"), "ChannelSelfAttention: reverse must be True or False, got 'no'"),
    (lambda: modules.PolarizedSequential(-1), "PolarizedSequential: dim must be a positive integer, got -1"),
    (lambda: BiLevelRouting(16, side_dwconv=4), "BiLevelRouting: side_dwconv must be odd, got 4. Use 3 or 5"),
    (lambda: BiLevelRouting(16, n_win=2, topk=5), r"topk must be at most n_win \* n_win, got 5 with n_win=2"),
])  # fmt: skip
def test_bad_arguments(make: Callable, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
