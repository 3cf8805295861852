"""Inter-frame attention and the block in which it acts: options, clips, copies and bad arguments."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

from yolo_attn import clips
from yolo_attn.modules import SE, SIFA
from yolo_attn.modules.sifa import deformable_aggregation, deformable_correlation

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


def module(**options) -> SIFA:
    torch.manual_seed(0)
    return generic(SIFA(8, **options)).double()


def frames(number: int, size: tuple[int, int] = (5, 4)) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(number, 8, *size, dtype=torch.float64)


@pytest.mark.parametrize("options", [
    {"num_frames": 3}, {"kernel_size": 1}, {"kernel_size": 2}, {"kernel_size": 5}, {"dilation": 2},
    {"layer_scale": None}, {"kernel_size": 2, "dilation": 3},
], ids=str)  # fmt: skip
def test_every_option(options: dict) -> None:
    """An option would not mean what the paper or the official code means by it."""
    sifa, x = module(**options), frames(4)
    sifa.def_cor.weight.normal_()  # also a weight that is no constant, and fewer frames of it than the clip has
    with clips(sifa, 4):
        torch.testing.assert_close(sifa(x), REFERENCES["SIFA"](sifa, x), **TOLERANCE[torch.float64])


@pytest.mark.parametrize("length, cut", [(2, [2, 2, 2]), (3, [3, 3]), (6, [6]), (1, [1] * 6), ([3, 1, 2], [3, 1, 2])])
def test_frames_mix_inside_their_clip_only(length, cut: list[int]) -> None:
    """Objects of one video would appear in another, or in the clip's last frame."""
    sifa, x = module(), frames(6)
    with clips(sifa, length):
        y = sifa(x)
    want = torch.cat([REFERENCES["SIFA"](sifa, clip) for clip in x.split(cut)])
    torch.testing.assert_close(y, want, **TOLERANCE[torch.float64])
    last = torch.tensor(cut).cumsum(0) - 1
    changed = torch.tensor([not torch.equal(a, b) for a, b in zip(x, y, strict=True)])
    assert changed.tolist() == [i not in last for i in range(6)]


def test_still_images_pass_through() -> None:
    """Training, validation or prediction on images would differ from the stock model."""
    sifa, x = module(), frames(4)
    before = x.clone()
    assert sifa(x) is x and sifa.train()(x) is x and sifa.eval()(x[:1].clone()).equal(x[:1])
    with clips(sifa, 4):
        assert not torch.equal(sifa(x), x)
    assert torch.equal(x, before) and sifa(x) is x


def test_starts_with_a_regular_window() -> None:
    """A new module would look at random places, or its offsets would never begin to learn."""
    sifa = SIFA(8)
    assert not sifa.conv_offset.weight.any()
    with clips(sifa, 3):
        sifa(torch.randn(3, 8, 5, 5)).square().sum().backward()
    assert sifa.conv_offset.weight.grad.any()


def test_the_constant_is_no_parameter() -> None:
    """Ultralytics would train it, with a warning at every start: it sets requires_grad on every parameter."""
    sifa = SIFA(8, num_frames=4)
    assert [name for name, _ in sifa.named_parameters()] == ["conv_offset.weight", "scale.weight"]
    assert sifa.state_dict()["def_cor.weight"].shape == (8, 4, 3, 3)
    assert (sifa.def_cor.weight == 1 / 8).all()


def test_official_weights_fit() -> None:
    """The official 1 x 3 x 3 convolution would not load, or predict stop at its 5-d weight."""
    sifa = SIFA(8, num_frames=4)
    weight = torch.randn(18, 8, 1, 3, 3)
    state = {"conv_offset.weight": weight, "def_cor.weight": sifa.def_cor.weight}
    nn.Sequential(sifa).load_state_dict({f"0.{k}": v for k, v in state.items()}, strict=True)
    assert torch.equal(sifa.conv_offset.weight, weight[:, :, 0]) and (sifa.scale.weight == 1).all()
    sifa.load_state_dict(sifa.state_dict(), strict=True)
    sifa.to(memory_format=torch.channels_last)


def test_blocks_nest_and_close() -> None:
    """After an inner block or an error the model would go on mixing frames."""
    sifa, x = module(), frames(4)
    with clips(sifa, 4):
        outer = sifa(x)
        with clips(sifa, 2):
            assert not torch.equal(sifa(x), outer)
        assert torch.equal(sifa(x), outer)
        with pytest.raises(KeyError), clips(sifa, 2):
            raise KeyError
        assert torch.equal(sifa(x), outer)
    assert sifa(x) is x and sifa.clips == ()


def test_only_the_model_that_is_named() -> None:
    """Another model of the program would take its images for frames."""
    one, other, x = module(), module(), frames(4)
    with clips(nn.Sequential(one), 4):
        assert not torch.equal(one(x), x) and other(x) is x


def test_copies_follow_the_block() -> None:
    """A predictor's copy of the model would not act inside a block, or an EMA's go on after it."""
    sifa, x = module(), frames(4)
    with clips(sifa, 4):
        twin = copy.deepcopy(sifa)
        assert torch.equal(twin(x), sifa(x)) and not torch.equal(twin(x), x)
        stored = pickle.dumps(sifa)
        torch.save(sifa, file := io.BytesIO())
    file.seek(0)
    with torch.serialization.safe_globals([nn.Conv2d, nn.Identity]):  # as Ultralytics allows torch's layers
        restricted = torch.load(file, weights_only=True)
    for each in (twin, copy.deepcopy(twin), pickle.loads(stored), restricted):
        assert each(x) is x
        with clips(each, 4):
            assert not torch.equal(each(x), x)


def test_a_static_clip_adds_the_window() -> None:
    """With zero offsets the weight would not be the mean product over channels, or the sum leave out points."""
    sifa = SIFA(8, layer_scale=None)
    x = torch.full((2, 8, 5, 5), 2.0)
    with clips(sifa, 2):
        y = sifa(x)
    assert y[0, :, 2, 2].tolist() == [2 + 9 * 4 * 2.0] * 8  # 9 points, products 4, values 2
    assert y[0, :, 0, 0].tolist() == [2 + 4 * 4 * 2.0] * 8  # a corner has 4 of them


def test_groups_and_pairs_of_the_operators() -> None:
    """A kernel that is not square, or groups, would be taken for something else."""
    x, offset = torch.randn(2, 4, 3, 5, 6), torch.randn(2, 12, 3, 5, 6)
    weight = torch.randn(4, 3, 3, 2)
    product = deformable_correlation(x, offset, weight, 1, (1, 1), (1, 2), 2)
    assert product.shape == (2, 12, 3, 5, 6)
    halves = [deformable_correlation(x[:, c], offset, weight[c], 1, (1, 1), (1, 2)) for c in (slice(2), slice(2, 4))]
    torch.testing.assert_close(product, torch.cat(halves, 1))
    gathered = deformable_aggregation(x, offset, product, (3, 2), 1, (1, 1), (1, 2), 2)
    each = [deformable_aggregation(x, offset, half, (3, 2), 1, (1, 1), (1, 2)) for half in halves]
    torch.testing.assert_close(gathered, torch.cat(each, 1))


@pytest.mark.parametrize("make, message", [
    (lambda: SIFA(0), "SIFA: dim must be a positive integer, got 0"),
    (lambda: SIFA(8, num_frames=0), "SIFA: num_frames must be a positive integer, got 0"),
    (lambda: SIFA(8, kernel_size=[3, 3]), r"SIFA: kernel_size must be a positive integer, got \[3, 3\]"),
    (lambda: SIFA(8, dilation=1.5), "SIFA: dilation must be a positive integer, got 1.5"),
    (lambda: SIFA(8, layer_scale=True), "SIFA: layer_scale must be a number, got True"),
    (lambda: run(SE(8), 2), "clips: the model must have a module that looks at neighbouring frames, such as SIFA"),
    (lambda: run("yolov8n.onnx", 2), "clips: the model must have a module"),
    (lambda: run(SIFA(8), 0), "clips: length must be a positive integer or a list of them, got 0"),
    (lambda: run(SIFA(8), True), "clips: length must be a positive integer or a list of them, got True"),
    (lambda: run(SIFA(8), []), r"clips: length must be a positive integer or a list of them, got \[\]"),
    (lambda: run(SIFA(8), "4"), "clips: length must be a positive integer or a list of them, got '4'"),
    (lambda: run(SIFA(8), 4), r"the batch must hold whole clips of 4 frames, got 6. .* clips\(model, \[4, 2\]\)"),
    (lambda: run(SIFA(8), [4, 4]), r"the batch must hold 8 frames, for clips of \[4, 4\], got 6"),
    (lambda: deformable_correlation(torch.zeros(1, 8, 2, 3, 3), torch.zeros(1, 9, 2, 3, 3), torch.ones(8, 2, 3, 3)),
     "offset must have 18 channels, y and x for each point of the window, got 9"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()


def run(model, length) -> None:
    with clips(model, length):
        model(torch.zeros(6, 8, 3, 3))
