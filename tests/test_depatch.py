"""Deformable patches: options, start, sizes and bad arguments."""

from __future__ import annotations

import pytest
import torch
from ultralytics import YOLO

from yolo_attn.modules import DePatch
from yolo_attn.modules.depatch import QUARTER, PatchEmbed, PointCoder, PointWHCoder, spread

from .conftest import TOLERANCE
from .models import WEIGHTS, logged, needs_weights
from .reference import REFERENCES
from .tiny import generic


@pytest.mark.parametrize("options", [
    {"stride": 1, "patch_size": 1}, {"stride": 2, "patch_size": 4}, {"stride": 2, "patch_size": 3}, {"stride": 3},
    {"stride": 4, "patch_size": 1}, {"patch_pixel": 1}, {"patch_pixel": 4, "wh_bias": 1.5}, {"wh_bias": None},
    {"tanh": False}, {"act": "identity"}, {"hidden": False}, {"hidden": False, "wh_bias": None}, {"norm": False},
    {"code_weights": [2.0, 0.5, 3.0, 0.7]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [(7, 4), (1, 1), (2, 5)], ids=str)
def test_every_option(options: dict, size: tuple[int, int]) -> None:
    """An option would not mean what it means in the official code, or fail on a size that stride does not divide."""
    torch.manual_seed(0)
    module = generic(DePatch(4, 6, **options)).double()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["DePatch"](module, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("hidden", [True, False])
def test_starts_as_a_regular_grid(hidden: bool) -> None:
    """Patches would start where nobody looks, or a position or size would never learn to leave its start."""
    torch.manual_seed(0)
    module, x = DePatch(4, 6, hidden=hidden), torch.randn(2, 4, 6, 10)
    y, boxes = module.embed(x)
    first = torch.stack(torch.meshgrid(torch.arange(0.5, 10, 2), torch.arange(0.5, 6, 2), indexing="xy"), -1)
    pixels = boxes * torch.tensor([10, 6, 10, 6])
    torch.testing.assert_close(pixels, torch.cat([first, first + 1], -1).expand(2, -1, -1, -1))  # the pixels' centres
    (y * torch.randn_like(y)).sum().backward()
    predicting = module.offset_predictor.weight if hidden else module.patch_embed.proj.weight
    assert (predicting.grad.flatten(1).abs().amax(1) > 1e-3).all() and (module.box_coder.wh_bias.grad != 0).all()


@pytest.mark.parametrize("reopen", [True, False])
def test_closed_boxes_reopen(reopen: bool) -> None:
    """A box that once shrank to a point would stay one for ever, because relu gives it no gradient."""
    torch.manual_seed(0)
    module = DePatch(4, 6, wh_bias=-0.5, reopen=reopen)
    y, boxes = module.embed(torch.randn(2, 4, 8, 8))
    assert torch.equal(boxes[..., :2], boxes[..., 2:])
    (y * torch.randn_like(y)).sum().backward()
    assert (module.box_coder.wh_bias.grad != 0).all() == reopen
    assert (module.offset_predictor.weight.grad.abs().amax(1) > 0).tolist() == [True, True, reopen, reopen]


def test_predictions_move_and_resize_the_patch() -> None:
    """A patch would look elsewhere than it says, in particular for wide maps, where x and y are easily exchanged."""
    module = DePatch(1, 1, hidden=False, norm=False, patch_pixel=2)
    with torch.no_grad():
        module.output_proj.weight.fill_(0.25)  # the mean of the four corners
        module.output_proj.bias.zero_()
        module.patch_embed.proj.bias[0] = QUARTER * 4  # to the right, by less than one patch
    x = torch.arange(10.0).expand(1, 1, 4, 10)  # each pixel is its own column
    moved = 2 * torch.tensor(QUARTER * 4).tanh()
    assert torch.allclose(module(x)[0, 0, :, 1:4], torch.tensor([2.5, 4.5, 6.5]) + moved)
    assert torch.allclose(module(x.mT.contiguous())[0, 0, 1:4, 0], torch.tensor([2.5, 4.5, 6.5]))


def test_options_reach_their_layer() -> None:
    """An option would act on another layer than in the official code, so that its weights do not load or differ."""
    assert type(DePatch(4, 6, act="identity").act) is torch.nn.Identity
    layers = ("patch_embed.norm", "offset_predictor", "norm")
    kept = lambda **options: {n for n in layers if list(DePatch(4, 6, **options).get_submodule(n).parameters())}  # noqa: E731
    assert kept() == set(layers) and kept(norm=False) == {"offset_predictor"} and kept(hidden=False) == {"norm"}
    boxes = PointWHCoder((1.0, 1.0, 2.0, 4.0), wh_bias=4.0)(torch.zeros(1, 9, 9, 4))[0, 4, 4]
    height, width = torch.tensor([4 / 2, 4 / 4]).tanh() * 2 / 9
    assert torch.allclose(boxes[2:] - boxes[:2], torch.stack([width, height]))


def test_uneven_maps_are_shared_evenly() -> None:
    """Where stride does not divide the map, a patch would lie outside it, or pixels at the edge be left out."""
    coder = PointWHCoder(wh_bias=10.0)  # half a side is one patch
    boxes = coder(torch.zeros(1, 3, 2, 4))
    assert torch.allclose(boxes[0, :, 0, 1::2], torch.tensor([[0, 0.5], [1 / 6, 5 / 6], [0.5, 1]]))
    assert DePatch(4, 6, 4).embed(torch.randn(1, 4, 9, 7))[0].shape == (1, 6, 3, 2)


def test_memory_is_linear() -> None:
    """A large map would not fit, because something grows faster than the map."""
    module, sizes = DePatch(4, 6), {}
    for n in (16, 32):
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):  # noqa: B023
            module(torch.randn(1, 4, n, n))
        sizes[n] = max(kept)
    assert sizes[16] == 4 * 9 * 8 * 8 and sizes[32] == 4 * sizes[16]


def test_the_codes_are_left_alone() -> None:
    """The caller's tensor would be changed, as it is by the official code."""
    codes = torch.randn(2, 3, 4, 4)
    before = codes.clone()
    PointWHCoder()(codes)
    assert torch.equal(codes, before)
    points = PointCoder()(codes[..., :2])
    boxes = PointWHCoder(wh_bias=-10.0)(codes)
    assert torch.equal(points, boxes[..., :2]) and torch.equal(points, boxes[..., 2:])  # no size: the point alone


def test_official_checkpoints_load() -> None:
    """Official weights would be refused, because they hold the grid of one image size."""
    module = DePatch(4, 6)
    official = {**module.state_dict(), "box_coder.anchor": torch.zeros(16, 2)}
    official |= {"value_spatial_shapes": torch.ones(1, 2), "value_level_start_index": torch.zeros(1)}
    module.load_state_dict(official, strict=True)
    assert "box_coder.anchor" in official
    with pytest.raises(RuntimeError, match="Unexpected"):
        module.load_state_dict({**official, "anchor": torch.zeros(1)}, strict=True)


def test_points_in_a_box() -> None:
    """Official weights would read each point's channels from another point."""
    points = spread(torch.tensor([0.0, 0.25, 1.0, 0.75]), 3)
    assert points[1, 2].tolist() == [0.5, 0.75] and points[:, 0, 0].tolist() == [0, 0.5, 1]
    assert spread(torch.tensor([0.25, 0.5, 1.0, 1.0]), 1).tolist() == [[[0.25, 0.5]]]
    assert PatchEmbed(4, 6, 5, 2)(torch.randn(1, 4, 7, 4), (4, 2)).shape == (1, 4, 2, 6)


@needs_weights
def test_the_replaced_layer_is_told() -> None:
    """The log would keep quiet about pretrained weights that have no place any more, or lose others."""
    model, stock = YOLO("yolov8n-depatch.yaml"), YOLO(str(WEIGHTS))
    with logged() as lines:
        model.load(str(WEIGHTS))
    told = "Transferred 349/349 tensors from yolov8n.pt; 10 new in 1 inserted layer (7: DePatch); "
    assert told + "1 replaced layer (7: Conv) left out" in lines
    for i, (ours, theirs) in enumerate(zip(model.model.model, stock.model.model, strict=True)):
        same = all(torch.equal(a, b.float()) for a, b in zip(ours.parameters(), theirs.parameters(), strict=False))
        assert same == (i != 7)


@pytest.mark.parametrize("make, message", [
    (lambda: DePatch(4, 0), "DePatch: c2 must be a positive integer, got 0"),
    (lambda: DePatch(4, 6, 2.0), "DePatch: stride must be a positive integer, got 2.0"),
    (lambda: DePatch(4, 6, patch_size=-1), "DePatch: patch_size must be a positive integer, got -1"),
    (lambda: DePatch(4, 6, patch_pixel=0), "DePatch: patch_pixel must be a positive integer, got 0"),
    (lambda: DePatch(4, 6, act="relu"), "DePatch: act must be one of gelu, identity, got 'relu'"),
    (lambda: DePatch(4, 6, norm=1), "DePatch: norm must be True or False, got 1"),
    (lambda: DePatch(4, 6, tanh="no"), "PointWHCoder: tanh must be True or False, got 'no'"),
    (lambda: DePatch(4, 6, wh_bias="auto"), "PointWHCoder: wh_bias must be a number, got 'auto'"),
    (lambda: DePatch(4, 6, reopen=0), "PointWHCoder: reopen must be True or False, got 0"),
    (lambda: DePatch(4, 6, code_weights=[1.0, 1.0]), r"weights must be 4 numbers other than 0, got \[1.0, 1.0\]"),
    (lambda: PointCoder((1.0, 0.0)), r"weights must be 2 numbers other than 0, got \(1.0, 0.0\). Give \[1.0, 1.0\]"),
    (lambda: PointCoder((1.0, "a")), "PointCoder: weights must be a number, got 'a'"),
    (lambda: PointCoder(1.0), "PointCoder: weights must be 2 numbers other than 0, got 1.0"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
