"""Sparse local patches: boxes, samples, options, gradients to positions and bad arguments."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules import SparseLocalPatch
from yolo_attn.modules._roi import interpolate, lattice, roi
from yolo_attn.modules.slpt import InherentLayer, InherentRelation

from .conftest import TOLERANCE
from .official.slpt import Network
from .reference import REFERENCES
from .reference.common import bilinear
from .reference.slpt import relation
from .tiny import generic


@pytest.mark.parametrize("options", [
    {}, {"patch_size": 2}, {"patch_size": 4}, {"num_stages": 1}, {"num_layers": 1}, {"num_heads": 4},
    {"embed_dim": 6}, {"half_length": 0.4}, {"mlp_ratio": 0.5}, {"num_points": 1},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [(4, 6), (3, 1)], ids=str)
def test_every_option(options: dict, size: tuple[int, int]) -> None:
    """An option would not mean what it says, or fail on a thin map."""
    torch.manual_seed(0)
    module = SparseLocalPatch(8, **{"num_points": 5, "patch_size": 3, "num_heads": 2, **options})
    module, x = generic(module).double(), torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["SparseLocalPatch"](module, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("dim", [32, 64, 96, 128, 192, 256, 320, 384, 512, 576, 640])
def test_one_row_suits_every_width(dim: int) -> None:
    """A YAML row with defaults would build at some scales only."""
    assert SparseLocalPatch(dim, num_points=4).feature_extractor.in_channels == dim // 2


def test_a_batch_without_images() -> None:
    """A filter that leaves no image would end in a division by zero."""
    assert SparseLocalPatch(8, num_points=4, num_heads=2)(torch.zeros(0, 8, 4, 6)).shape == (0, 8, 4, 6)


def test_boxes() -> None:
    """Patches would be cut out elsewhere, reach over the border, or have x and y exchanged."""
    points = torch.tensor([[0.5, 0.25], [0.0, 1.0], [-0.3, 0.5]])
    grid, length, start = roi(points, 0.125, 3)
    torch.testing.assert_close(start, torch.tensor([[0.375, 0.125], [0.0, 0.875], [0.0, 0.375]]))
    torch.testing.assert_close(length, torch.tensor([[0.25, 0.25], [0.125, 0.125], [0.0, 0.25]]))
    assert torch.equal(grid[0, :, 0, 0], torch.tensor([0.375, 0.5, 0.625]))  # x runs along the first axis
    assert torch.equal(grid[0, 0, :, 1], torch.tensor([0.125, 0.25, 0.375]))
    assert torch.equal(roi(points, 0.125, 1)[0][:, 0, 0], start)


@pytest.mark.parametrize("size", [(4, 7), (7, 4), (1, 5), (1, 1)], ids=str)
def test_samples_of_a_map_that_is_not_square(size: tuple[int, int]) -> None:
    """One axis' size would be taken for both, as in the official code, or points outside would be lost."""
    torch.manual_seed(0)
    x, points = torch.randn(2, 3, *size).double(), torch.rand(2, 9, 2).double() * 1.4 - 0.2
    at = (points.clamp(0, 1).flip(-1) * (torch.tensor(size) - 1)).unbind(1)
    want = torch.stack([torch.stack([bilinear(*each) for each in zip(x, *p.unbind(-1), strict=True)]) for p in at], 1)
    torch.testing.assert_close(interpolate(x, points), want, **TOLERANCE[torch.float64])


def test_slope_at_a_pixel() -> None:
    """A position exactly on a pixel would never learn, as in the official code, or be pulled off the map."""
    x = torch.tensor([[0.0, 1.0, 5.0], [10.0, 20.0, 40.0], [20.0, 0.0, 0.0]])[None, None]
    points = torch.tensor([[[0.0, 0.0], [0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [-0.5, 0.5]]], requires_grad=True)
    interpolate(x, points).sum().backward()
    want = [[1.0, 10.0], [20.0, -20.0], [0.0, -40.0], [0.0, 0.0], [0.0, 10.0]]  # per pixel, towards larger x and y
    torch.testing.assert_close(points.grad[0] / 2, torch.tensor(want))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 29, 64, 98])
def test_points_are_spread_at_the_start(count: int) -> None:
    """Parts of the map would be out of every box's reach."""
    points = lattice(count)
    assert points.shape == (count, 2) and points.min() > 0 and points.max() < 1
    torch.testing.assert_close(points.mean(0), torch.full((2,), 0.5), atol=0.5 / count, rtol=0)
    anywhere = torch.rand(1000, 2)
    assert torch.cdist(anywhere, points).amin(1).max() <= 1.2 / count**0.5


def test_points_stay_in_their_boxes() -> None:
    """A point would leave the map for good, or jump further than the stage allows."""
    torch.manual_seed(0)
    module = generic(SparseLocalPatch(8, 20, 3, num_heads=2))
    with torch.no_grad():
        module.out_layer.weight.mul_(100)
    points = module.attend(torch.randn(3, 8, 6, 9))[1]
    assert points.shape == (3, 4, 20, 2) and points.min() >= 0 and points.max() <= 1
    assert torch.equal(points[:, 0], module.initial_points.sigmoid().expand(3, -1, 2))
    moved = points.diff(dim=1).abs().amax((0, 2, 3))
    assert (moved <= torch.tensor([0.125, 0.0625, 0.03125]) + 1e-6).all() and (moved > 0.01).all()


def test_points_learn_from_a_loss_on_the_map() -> None:
    """Nothing would tell the points where to go: no landmark supervises them."""
    torch.manual_seed(0)
    module, x = generic(SparseLocalPatch(8, 4, 3, num_heads=2)), torch.randn(1, 8, 6, 5)
    points, loss = torch.rand(1, 4, 2).requires_grad_(), torch.randn(1, 8, 6, 5)
    (module._write_back(x, torch.randn(1, 4, 4), points) * loss).sum().backward()
    assert (points.grad.abs() > 1e-3).all()  # where a token is written to
    module.zero_grad()
    (module(x) * loss).sum().backward()
    assert (module.initial_points.grad != 0).all() and (module.out_layer.weight.grad != 0).all()
    last = generic(SparseLocalPatch(8, 4, 3, 1, num_heads=2))  # a stage that no samples follow
    (last(x) * loss).sum().backward()
    assert (last.out_layer.weight.grad != 0).all()


def test_near_pixels_attend_to_a_point() -> None:
    """The learned radius would have no effect, or the wrong one."""
    torch.manual_seed(0)
    module, x = generic(SparseLocalPatch(8, 4, 3, num_heads=2)), torch.randn(1, 8, 8, 8)  # 2 x 2 points
    torch.nn.init.zeros_(module.proj_q.weight)
    torch.nn.init.zeros_(module.proj_q.bias)
    tokens, points = torch.randn(1, 4, 4), lattice(4)[None]

    def written(log_radius: float) -> torch.Tensor:
        with torch.no_grad():
            module.log_radius.fill_(log_radius)
            return module._write_back(x, tokens, points)

    quarters = written(-20)  # each pixel has the token of the nearest point, and nothing of the others
    assert quarters.isfinite().all()
    for y, x_ in ((0, 0), (0, 4), (4, 0), (4, 4)):
        assert quarters[:, :, y : y + 4, x_ : x_ + 4].flatten(2).std(-1).max() < 1e-6 < quarters.std((2, 3)).min()
    assert written(20).std((2, 3)).max() < 1e-6 < written(0).std((2, 3)).max() < quarters.std((2, 3)).max()
    assert module.half()(x.half()).isfinite().all()


def test_tokens_to_start_from() -> None:
    """A stage would forget what the one before knows, or official weights would not start from zeros."""
    torch.manual_seed(0)
    module, patches = generic(InherentRelation(5, 8, 3, 2, 16)).double(), torch.randn(1, 5, 8).double()
    for start in (torch.zeros(1, 5, 8).double(), torch.randn(1, 5, 8).double()):
        want = torch.stack(relation(module, patches[0], start[0]))
        torch.testing.assert_close(module(patches, start)[0], want, **TOLERANCE[torch.float64])
    assert torch.equal(module(patches), module(patches, torch.zeros(1, 5, 8).double()))


def test_points_go_to_what_matters() -> None:
    """Points would stay where they are, or wander: those of a trained module must be nearer to the only object."""
    torch.manual_seed(0)
    module = SparseLocalPatch(8, 9, 5, num_heads=2, embed_dim=16)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    axis = torch.linspace(0, 1, 16)
    nearest = []
    for _ in range(120):
        centre = torch.rand(16, 2)
        x, y = (axis[None] - centre[:, i, None] for i in (0, 1))
        squared = (x[:, None] ** 2 + y[:, :, None] ** 2)[:, None]
        out, points = module.attend(torch.randn(16, 8, 16, 16) * 0.1 + 3 * (-200 * squared).exp())
        loss = (out[:, :1] - 3 * (-200 * squared).exp()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        nearest.append(torch.cdist(points[:, [0, -1]], centre[:, None, None].expand(-1, 2, 1, 2)).amin((2, 3)).mean(0))
    start, end = torch.stack(nearest[-10:]).detach().mean(0)
    print(start, end, loss)
    assert end < 0.7 * start


def test_options_of_the_layer() -> None:
    """Dropout would act in validation, padding would be seen, or the activation be another."""
    tgt, memory = torch.randn(2, 5, 8), torch.randn(2, 6, 8)
    layer = generic(InherentLayer(8, 2, 16, drop=0.5))
    assert torch.equal(layer(tgt, memory), layer(tgt, memory))
    layer.train()
    assert not torch.equal(layer(tgt, memory), layer(tgt, memory))
    assert layer.self_attn.dropout == layer.multihead_attn.dropout == 0.5
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 4:] = True
    layer.eval()
    torch.testing.assert_close(layer(tgt, memory, padding=padding), layer(tgt, memory[:, :4]))
    twin = InherentLayer(8, 2, 16, activation="gelu")
    twin.load_state_dict(layer.state_dict())
    assert not torch.allclose(twin.eval()(tgt, memory), layer(tgt, memory))


def test_official_weights_fit() -> None:
    """The parts that the official network has would have other names or shapes in the row."""
    row = SparseLocalPatch(24, 7, 5, num_layers=3, num_heads=4, embed_dim=16, mlp_ratio=2)
    official = Network(lattice(7), 16, 5, 3, 4, 32).state_dict()
    missing, unexpected = row.load_state_dict(official, strict=False)
    assert unexpected == ["feature_norm.weight", "feature_norm.bias"]
    assert {name.split(".")[0] for name in missing} == {
        "initial_points", "log_radius", "proj_in", "proj_q", "proj_kv", "proj_out",
    }  # fmt: skip


@pytest.mark.parametrize("make, message", [
    (lambda: SparseLocalPatch(0), "SparseLocalPatch: dim must be a positive integer, got 0"),
    (lambda: SparseLocalPatch(1), "embed_dim must be a positive integer, got 0"),
    (lambda: SparseLocalPatch(20), "num_heads must divide embed_dim, got num_heads=8 and embed_dim=10. Choose one of"),
    (lambda: SparseLocalPatch(64, 0), "num_points must be a positive integer, got 0"),
    (lambda: SparseLocalPatch(64, 9, 1), "patch_size must be a number from 2, got 1"),
    (lambda: SparseLocalPatch(64, half_length=8), "half_length must be a number from 0.001 to 1, got 8"),
    (lambda: SparseLocalPatch(64, mlp_ratio=0), "mlp_ratio must be a number from 0.03125, got 0"),
    (lambda: SparseLocalPatch(64, num_stages=0), "num_stages must be a positive integer, got 0"),
    (lambda: SparseLocalPatch(64, num_stages=65), "num_stages must be a number from 1 to 64, got 65"),
    (lambda: SparseLocalPatch(64, num_layers=10**9), "num_layers must be a number from 1 to 64, got 1000000000"),
    (lambda: InherentLayer(16, 3), "InherentLayer: num_heads must divide dim, got num_heads=3 and dim=16"),
    (lambda: InherentLayer(16, activation="glu"), "activation must be one of relu, gelu, got 'glu'"),
    (lambda: InherentLayer(16, drop=2), "drop must be a number from 0 to 1, got 2"),
    (lambda: InherentLayer(16, pre_norm=1), "pre_norm must be True or False, got 1"),
    (lambda: InherentRelation(4, 16, 0), "InherentRelation: num_layers must be a positive integer, got 0"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
