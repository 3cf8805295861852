"""Deformable convolution: what it starts as, what its offsets and factors mean, options and bad arguments."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.modules import C2f, Conv

from yolo_attn.modules import C2fDCN, DeformConv
from yolo_attn.modules._sampling import sample_pixels
from yolo_attn.modules.deform_conv import deform_conv2d

from .conftest import TOLERANCE
from .reference import REFERENCES
from .tiny import generic


@pytest.mark.parametrize("size", [(3, 4), (9, 6)], ids=str)
@pytest.mark.parametrize("args", [
    (), (3,), (3, 2), (1,), (5, 1, 1), (2, 2, 0), (3, 2, None, 2), (3, 1, None, 1, 2), (3, 1, 3, 4, 2, False),
], ids=str)  # fmt: skip
def test_starts_as_the_conv_that_it_stands_for(args: tuple, size: tuple[int, int]) -> None:
    """The arguments of a Conv's row would mean another layer, or its trained weights be lost or another function."""
    conv = generic(Conv(8, 12, *(args or (3,))))
    module = DeformConv(8, 12, *args).eval()
    missing, unexpected = module.load_state_dict(conv.state_dict(), strict=False)
    assert missing == ["conv_offset.weight", "conv_offset.bias"] and not unexpected
    x = torch.randn(2, 8, *size)
    torch.testing.assert_close(module(x), conv(x), **TOLERANCE[torch.float32])
    torch.testing.assert_close(module.train()(x), conv.train()(x), **TOLERANCE[torch.float32])


@pytest.mark.parametrize("args", [(1,), (2, True), (3, False, 2), (2, True, 1, 0.25)], ids=str)
def test_starts_as_the_c2f_that_it_stands_for(args: tuple) -> None:
    """The trained weights of a stage would be lost, or give another function."""
    stage = generic(C2f(8, 16, *args))
    module = C2fDCN(8, 16, *args).eval()
    missing, unexpected = module.load_state_dict(stage.state_dict(), strict=False)
    assert all(".cv2.conv_offset." in name for name in missing) and len(missing) == 2 * args[0] and not unexpected
    x = torch.randn(2, 8, 9, 6)
    torch.testing.assert_close(module(x), stage(x), **TOLERANCE[torch.float32])


@pytest.mark.parametrize("options", [
    {}, {"modulated": False}, {"offset_groups": 4}, {"offset_groups": 2, "num_groups": 4, "modulated": False},
    {"kernel_size": 2, "stride": 3}, {"kernel_size": 1, "act": False}, {"dilation": 2, "stride": 2}, {"padding": 0},
], ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
def test_every_option(options: dict) -> None:
    """An option would not do what it says."""
    torch.manual_seed(0)
    module = generic(DeformConv(4, 8, **options)).double()
    x = torch.randn(2, 4, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x), REFERENCES["DeformConv"](module, x), **TOLERANCE[torch.float64])


def test_offsets_learn_from_the_start() -> None:
    """Offsets or factors that start at zero would stay there."""
    module, x = DeformConv(4, 8, 3, 2, offset_groups=2), torch.randn(2, 4, 6, 6)
    (module(x) ** 3).sum().backward()
    assert all(row.any() for row in module.conv_offset.weight.grad)
    assert module.conv_offset.bias.grad.all()


def test_gradient_right_on_a_pixel() -> None:
    """With neighbours by floor and ceil, which are one there, a point that starts on a pixel would never move."""
    x = torch.tensor([[[[0.0, 1, 3], [10, 14, 19]]]])
    points = torch.tensor([[[[0.0, 1.0]]]], requires_grad=True)
    sample_pixels(x, *points.unbind(-1)).backward()
    assert points.grad[..., 0].item() == pytest.approx(13, rel=1e-4)
    assert 1 <= points.grad[..., 1].item() <= 2  # the slope on either side
    offset = torch.zeros(1, 2, 2, 3, requires_grad=True)
    deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))[..., 0, 1].sum().backward()
    assert offset.grad[0, :, 0, 1].tolist() == [13, 2]


def test_offsets_are_pixels_down_and_right() -> None:
    """Offsets would be swapped, of another unit or sign, or of the wrong group of channels."""
    module, x = DeformConv(4, 4, num_groups=4, offset_groups=2).eval(), torch.randn(1, 4, 8, 8)
    plain = module(x)
    with torch.no_grad():
        module.conv_offset.bias[0:18:2] = 1  # y of the first group
        module.conv_offset.bias[19:36:2] = 2  # x of the second
    moved = module(x)
    inside = slice(1, -3)
    torch.testing.assert_close(moved[:, :2, inside, inside], plain[:, :2, 2:-2, inside], **TOLERANCE[torch.float32])
    torch.testing.assert_close(moved[:, 2:, inside, inside], plain[:, 2:, inside, 3:-1], **TOLERANCE[torch.float32])


def test_factors() -> None:
    """A tap could not be switched off or doubled, or version 1 would have factors."""
    module, x = DeformConv(4, 4, act=False).eval(), torch.randn(1, 4, 5, 5)
    plain = module(x)
    for value, factor in ((-50, 0), (50, 2)):
        nn.init.constant_(module.conv_offset.bias[18:], value)
        torch.testing.assert_close(module(x), factor * plain)
    assert DeformConv(4, 4, modulated=False).offsets(x)[1] is None


def test_precision() -> None:
    """Offsets would be rounded to half precision in the sum, or the result have another type than the input."""
    x, offset, mask = torch.randn(1, 4, 5, 5), torch.randn(1, 18, 5, 5) + 200, torch.rand(1, 9, 5, 5)
    weight, bias = torch.randn(2, 4, 3, 3), torch.randn(2)
    for dtype in (torch.float16, torch.bfloat16):
        got = deform_conv2d(x.to(dtype), offset - 200, weight.to(dtype), bias, mask.to(dtype), padding=1)
        want = deform_conv2d(*(t.to(dtype).float() for t in (x,)), offset - 200, weight.to(dtype).float(), bias,
                             mask.to(dtype).float(), padding=1)  # fmt: skip
        assert got.dtype == dtype and torch.equal(got, want.to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert deform_conv2d(x, offset, weight, padding=1).dtype == torch.float32


def test_nan_is_no_crash(run) -> None:
    """Uninitialised memory, on which Ultralytics runs a model to count and to warm up, would end the process."""
    code = (
        "import torch; from yolo_attn.modules import DeformConv\n"
        "x = torch.zeros(1, 4, 8, 8); x[0, 0, 4, 4] = {}\n"
        "for m in (True, False):\n"
        "    y = DeformConv(4, 4, act=False, modulated=m).eval()(x)\n"
        "    print((~y.isfinite()).all(1).sum().item())"
    )
    for value in ("torch.nan", "torch.inf"):
        assert run("python", "-c", code.format(value)).stdout.split() == ["16", "16"]  # places that see it


def test_options_of_the_stage() -> None:
    """An option of C2fDCN would not reach the layer that it is for."""
    stage = C2fDCN(8, 16, 3, True, num_groups=2, expansion=0.75, offset_groups=4, modulated=False)
    assert len(stage.m) == 3 and all(bottleneck.shortcut for bottleneck in stage.m)
    assert all(b.cv2.conv.weight.shape == (12, 6, 3, 3) and b.cv2.conv_offset.out_channels == 72 for b in stage.m)
    module, x = generic(C2fDCN(4, 8, 2)).double(), torch.randn(1, 4, 3, 3).double()
    torch.testing.assert_close(module(x), REFERENCES["C2fDCN"](module, x), **TOLERANCE[torch.float64])


def test_importing_the_plugin_imports_no_torchvision(run) -> None:
    """Every start of Ultralytics would take a second longer."""
    code = "import yolo_attn, sys; print([m for m in sys.modules if m.partition('.')[0] == 'torchvision'])"
    assert run("python", "-c", code).stdout.strip().endswith("[]")


@pytest.mark.parametrize("make, message", [
    (lambda: DeformConv(8, 8, 0), "DeformConv: kernel_size must be a positive integer, got 0"),
    (lambda: DeformConv(8, 8, (3, 3)), r"kernel_size must be a positive integer, got \(3, 3\)"),
    (lambda: DeformConv(8, 8, 3, 1, -1), "padding must be a positive integer, got -1"),
    (lambda: DeformConv(8, 8, 3, 1, 2**31), "got 2147483648. Give a whole number from 1 to 2147483647"),
    (lambda: DeformConv(8, 8, 3, 1, 0.5), "padding must be a positive integer, got 0.5"),
    (lambda: DeformConv(8, 9, num_groups=2), "num_groups must divide c2, got num_groups=2 and c2=9. Choose one of 1"),
    (lambda: DeformConv(9, 8, num_groups=2), "num_groups must divide c1, got num_groups=2 and c1=9"),
    (lambda: DeformConv(8, 8, offset_groups=3), "offset_groups must divide c1, got offset_groups=3 and c1=8"),
    (lambda: DeformConv(8, 8, modulated=2), "modulated must be True or False, got 2"),
    (lambda: DeformConv(8, 8, act="SiLU"), "act must be True or False, got 'SiLU'"),
    (lambda: C2fDCN(8, 8, 0), "C2fDCN: n must be a positive integer, got 0"),
    (lambda: C2fDCN(8, 8, shortcut=3), "C2fDCN: shortcut must be True or False, got 3"),
    (lambda: C2fDCN(8, 8, expansion=0.1), "C2fDCN: expansion must be a number from 0.125, got 0.1"),
    (lambda: C2fDCN(8, 12, num_groups=4), "DeformConv: num_groups must divide c1, got num_groups=4 and c1=6"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
