"""CrossFormer's blocks, stages and embedding layer: options, sizes, masks and bad arguments."""

from __future__ import annotations

import pytest
import torch
from yolo_attn.patches import host

from yolo_attn.modules import CrossFormerBlock, CrossFormerStage, CrossScaleEmbed, crossformer
from yolo_attn.modules.group_attention import DynamicPosBias, GroupAttention

from .conftest import TOLERANCE
from .models import logged, scaled, seeded
from .reference import REFERENCES
from .reference.crossformer import position_bias
from .tiny import generic


def random_block(**options) -> CrossFormerBlock:
    torch.manual_seed(0)
    return generic(CrossFormerBlock(**{"dim": 48, "num_heads": 2, "mlp_ratio": 0.5} | options))


@pytest.fixture(params=[True, False], ids=["pieces", "padded"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of the shapes at hand, or whole ones with padding and masks, as in graphs."""
    monkeypatch.setattr(crossformer, "in_graph", lambda: not request.param)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("options", [
    {}, {"long_distance": True, "group_size": 2}, {"split_padding": True}, {"no_mask": True, "split_padding": True},
    {"long_distance": True, "adaptive_interval": True}, {"adaptive_interval": True},
    {"long_distance": True, "adaptive_interval": True, "detection": True}, {"group_size": 5, "detection": True},
    {"group_size": 5, "long_distance": True}, {"qk_scale": 0.7, "qkv_bias": False},
    {"use_cpe": True}, {"use_extra_conv": True}, {"long_distance": True, "group_size": 2, "no_mask": True},
], ids=lambda options: "-".join(options) or "default")  # fmt: skip
@pytest.mark.parametrize("size", [(4, 7), (7, 4), (1, 2)], ids=str)
def test_every_option_of_the_block(options: dict, size: tuple[int, int]) -> None:
    """An option would group, pad or mask other positions than it says, on a map that is wide, high or thin."""
    module = random_block(**{"group_size": 3, "interval": 2} | options).double()
    x = torch.randn(2, 48, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["CrossFormerBlock"](module, x), **TOLERANCE[torch.float64])


def test_who_sees_whom() -> None:
    """Short distance would not mean neighbours, or long distance not every interval-th position of the map."""

    def seen(module: CrossFormerBlock) -> set[tuple[int, int]]:
        x = torch.randn(1, 48, 8, 8, requires_grad=True)
        module(x)[0, :, 1, 2].sum().backward()
        return {(i, j) for i, j in x.grad[0].abs().sum(0).nonzero().tolist()}

    options = {"group_size": 4, "interval": 2}
    assert seen(random_block(**options)) == {(i, j) for i in range(4) for j in range(4)}
    assert seen(random_block(**options, long_distance=True)) == {(i, j) for i in (1, 3, 5, 7) for j in (0, 2, 4, 6)}


def test_padding_is_seen_on_request_only() -> None:
    """no_mask would do nothing, or change maps that need no padding."""
    for options in ({}, {"long_distance": True}, {"split_padding": True}):
        module = random_block(group_size=3, interval=2, **options)
        for size, padded in (((7, 10), True), ((6, 12), False)):
            x = torch.randn(1, 48, *size)
            module.no_mask = False
            want = module(x)
            module.no_mask = True
            assert torch.equal(module(x), want) != padded


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_groups_of_padding_only(dtype: torch.dtype, monkeypatch) -> None:
    """In half precision, a group without any position of the map would become NaN, and its gradients too."""

    def plain(q, k, v, bias, _, scale):  # as in exported graphs and older PyTorch, without a guard against infinity
        return (q @ k.transpose(-1, -2) * (scale or q.shape[-1] ** -0.5) + bias).softmax(-1) @ v

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", plain)
    monkeypatch.setattr(crossformer, "in_graph", lambda: True)
    module = random_block(group_size=2, interval=4, long_distance=True)  # 3 x 3 positions in 8 x 8
    x = torch.randn(1, 48, 3, 3)
    want = module(x)
    module, x = module.to(dtype), x.to(dtype).requires_grad_()
    y = module(x)
    torch.testing.assert_close(
        y.float(), want, **TOLERANCE[torch.float32 if dtype == torch.float32 else torch.bfloat16]
    )
    y.sum().backward()
    assert all(t.grad.isfinite().all() for t in (x, *module.parameters()))


def test_hidden_members_have_no_weight() -> None:
    """A large logit would push attention onto members that a mask hides."""
    module = generic(GroupAttention(32, 2, position_bias=False))
    x = torch.randn(2, 3, 4, 32)
    mask = torch.tensor([True, True, False, True]).expand(3, 1, 4)
    other = x.clone()
    other[:, :, 2] *= 100
    want, got = (module(t, (2, 2), mask)[:, :, [0, 1, 3]] for t in (x, other))
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(module(x, (2, 2), mask), module(x, (2, 2), mask.expand(3, 4, 4)))
    assert not torch.allclose(module(x, (2, 2))[:, :, [0, 1, 3]], want)


@pytest.mark.parametrize("residual", [False, True])
def test_position_bias_of_pairs(residual: bool) -> None:
    """The bias would belong to another pair of positions, or to the way back."""
    dpb = generic(DynamicPosBias(16, 3, residual)).double()
    bias = dpb.pairs((2, 3))
    for q in range(6):
        for k in range(6):
            want = position_bias(dpb, q // 3 - k // 3, q % 3 - k % 3)
            torch.testing.assert_close(bias[:, q, k], want, **TOLERANCE[torch.float64])


def test_narrow_layers_know_positions() -> None:
    """The first stage of a small detector would have a position bias that is the same everywhere."""
    for scale in "nx":
        model = host.build({**host.load_yaml("yolov8-crossformer-backbone.yaml"), "scale": scale})
        for block in (block for i in (1, 3, 5, 7) for block in model.model[i].blocks):
            assert block.attn.pos.pairs((10, 10)).std((1, 2)).min() > 0.01


def test_a_small_map_leaves_no_trace() -> None:
    """After one small image, a detector would attend to short distances only, for good."""
    module = random_block(group_size=3, interval=2, long_distance=True, detection=True)
    x = torch.randn(1, 48, 8, 8)
    want = module(x)
    module(torch.randn(1, 48, 2, 9))
    assert torch.equal(module(x), want)


def test_thin_maps_cost_what_they_hold() -> None:
    """A map of one row would ask for the memory of a square of its length."""
    module = random_block(group_size=10)
    assert module.groups((1, 100_000)).group == (1, 1)
    assert module(torch.randn(1, 48, 1, 100_000)).isfinite().all()


def test_cpe_knows_height_and_width() -> None:
    """Conditional positions would take the rows of the map for channels, and so fix its height."""
    module = random_block(group_size=7, use_cpe=True, detection=True)  # the whole map is one group
    assert module.cpe.weight.shape == (48, 1, 3, 3) and module.attn.pos is None
    x = torch.randn(1, 48, 4, 6)
    for axis in (2, 3):
        assert not torch.allclose(module(x.flip(axis)).flip(axis), module(x), atol=1e-3)
    with torch.no_grad():
        module.norm_cpe.weight.zero_()  # without positions, a map is a set
    for axis in (2, 3):
        torch.testing.assert_close(module(x.flip(axis)).flip(axis), module(x), **TOLERANCE[torch.float32])


def test_dropout_is_for_training() -> None:
    """Dropout would act in validation, or not in training."""
    x = torch.randn(1, 48, 5, 5)
    for options in ({"attn_drop": 0.5}, {"drop": 0.5}):
        module, plain = random_block(**options), random_block()
        assert torch.equal(module(x), plain(x)) and not torch.equal(module.train()(x), plain(x))
    block = random_block(drop=0.5)
    assert block.attn.proj_drop.p == block.mlp.drop1.p == block.mlp.drop2.p == 0.5


def test_options_of_the_stage() -> None:
    """An option of CrossFormerStage would not reach its blocks, or short and long distance not take turns."""
    options = {"interval": 3, "split_padding": True, "no_mask": True, "adaptive_interval": True, "detection": True}
    stage = CrossFormerStage(
        64, 6, group_size=[2, 3, 4, 5, 6, 7], mlp_ratio=2, qkv_bias=False, qk_scale=0.5, use_acl=True, head_dim=16,
        attn_drop=0.1, drop=0.2, pos_dim=3, **options,
    )  # fmt: skip
    assert [block.long_distance for block in stage.blocks] == [False, True] * 3
    assert [block.ex_conv is not None for block in stage.blocks] == [False, False, True, False, False, False]
    assert [block.group_size for block in stage.blocks] == [2, 3, 4, 5, 6, 7]
    for block in stage.blocks:
        assert {k: getattr(block, k) for k in options} == options
        assert (block.attn.num_heads, block.attn.scale, block.attn.attn_drop, block.mlp.drop1.p) == (4, 0.5, 0.1, 0.2)
        assert block.attn.pos.pos_proj.out_features == 3
        assert block.attn.qkv.bias is None and block.mlp.fc1.out_features == 128
    assert CrossFormerStage(64, use_cpe=True).blocks[1].cpe is not None
    assert len(CrossFormerStage(64).blocks) == 2 and CrossFormerStage(64, num_heads=8).blocks[0].attn.num_heads == 8


@pytest.mark.parametrize("norm", ["bn", "ln", "pre_ln", "none"])
@pytest.mark.parametrize("kernels, stride", [((2, 4), 2), ([4, 8, 16, 32], 4), ([1, 3, 5], 1), ([3], 3)], ids=str)
@pytest.mark.parametrize("size", [(8, 12), (7, 5), (1, 1)], ids=str)
def test_embedding(norm: str, kernels: list[int], stride: int, size: tuple[int, int]) -> None:
    """A kernel would be centred elsewhere than the others, or an odd map be cut short."""
    torch.manual_seed(0)
    module = generic(CrossScaleEmbed(3, 24, kernels, stride, norm)).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    y = module(x)
    assert y.shape == (2, 24, *(-(-n // stride) for n in size))
    torch.testing.assert_close(y, REFERENCES["CrossScaleEmbed"](module, x), **TOLERANCE[torch.float64])


def test_shares_of_the_kernels() -> None:
    """Small kernels would not get most channels, or the widths not add up."""
    widths = lambda *args: [conv.out_channels for conv in CrossScaleEmbed(*args).projs]  # noqa: E731
    assert widths(3, 96, [4, 8, 16, 32], 4) == [48, 24, 12, 12] and widths(8, 16) == [8, 8] and widths(8, 5, [2]) == [5]
    assert CrossScaleEmbed(3, 8).projs[0].bias is None and CrossScaleEmbed(3, 8, norm="none").projs[0].bias is not None


@pytest.mark.parametrize("name, said", [
    ("cel", "new in 3 inserted layers (3: CrossScaleEmbed, 5: CrossScaleEmbed, 7: CrossScaleEmbed); "
            "3 replaced layers (3: Conv, 5: Conv, 7: Conv) left out"),
    ("crossformer-backbone", "; 9 replaced layers (0: Conv, 1: Conv, 2: C2f, 3: Conv, 4: C2f, 5: Conv, 6: C2f, "
                             "7: Conv, 8: C2f) left out"),
])  # fmt: skip
def test_weights_follow_what_was_not_replaced(name: str, said: str) -> None:
    """Neck and head would lose their pretrained weights with the backbone, or the log not say what is left out."""
    stock, model = (seeded(scaled(host.load_yaml(f"{n}.yaml"))) for n in ("yolov8", f"yolov8-{name}"))
    with logged() as lines:
        model.load(stock)
    (line,) = [x for x in lines if x.startswith("Transferred")]
    assert said in line
    for ours, theirs in zip(model.model[-14:], stock.model[-14:], strict=True):  # from SPPF on
        assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("make, message", [
    (lambda: CrossFormerBlock(48), "head_dim must divide dim, got head_dim=32 and dim=48. Choose one of 1, 2, 3, 4"),
    (lambda: CrossFormerBlock(64, 3), "num_heads must divide dim, got num_heads=3 and dim=64"),
    (lambda: CrossFormerBlock(64, 4, head_dim=8), "give num_heads or head_dim, got 4 and 8 with 64 channels"),
    (lambda: CrossFormerBlock(8, 2), "GroupAttention: dim must be a number from 16, got 8"),
    (lambda: CrossFormerBlock(8, 2, pos_dim=0), "GroupAttention: pos_dim must be a positive integer, got 0"),
    (lambda: CrossFormerBlock(64, group_size=0), "group_size must be a positive integer, got 0"),
    (lambda: CrossFormerBlock(64, interval=1.5), "interval must be a positive integer, got 1.5"),
    (lambda: CrossFormerBlock(64, long_distance=1), "long_distance must be True or False, got 1"),
    (lambda: CrossFormerBlock(64, mlp_ratio=0), "mlp_ratio must be a number from 0.015625, got 0"),
    (lambda: CrossFormerBlock(64, drop=2), "drop must be a number from 0 to 1, got 2"),
    (lambda: CrossFormerBlock(64, qk_scale="big"), "qk_scale must be a number, got 'big'"),
    (lambda: CrossFormerStage(64, 3, group_size=[7, 7]), "must be one number or as many as blocks, got 2 for 3"),
    (lambda: CrossFormerStage(64, 0), "n must be a positive integer, got 0"),
    (lambda: DynamicPosBias(3, 2), "dim must be a number from 4, got 3"),
    (lambda: CrossScaleEmbed(3, 20, [4, 8, 16, 32], 4), "c2 must be a multiple of 8 for 4 kernels, got 20. Choose 16"),
    (lambda: CrossScaleEmbed(3, 8, [2, 3]), r"stride or an even number more, got \[2, 3\] with stride 2. Choose"),
    (lambda: CrossScaleEmbed(3, 8, [2], 4), r"stride or an even number more, got \[2\] with stride 4"),
    (lambda: CrossScaleEmbed(3, 8, 3), "stride or an even number more, got 3 with stride 2"),
    (lambda: CrossScaleEmbed(3, 8, []), r"stride or an even number more, got \[\]"),
    (lambda: CrossScaleEmbed(3, 8, norm="gn"), "norm must be one of bn, ln, pre_ln, none, got 'gn'"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
