"""PlainConv: its widths and options, what it takes from no stock layer, and bad arguments."""

from __future__ import annotations

import pytest
import torch
from yolo_attn.patches import host

import yolo_attn
from yolo_attn.comparison.fit import Block
from yolo_attn.modules import PlainConv
from yolo_attn.transfer import Layer, align

from .conftest import TOLERANCE
from .models import scaled, seeded, transferred
from .reference import REFERENCES
from .tiny import generic


def shapes(module: PlainConv) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for name, p in module.named_parameters() if name.endswith("weight") and p.ndim == 4]


def test_widths() -> None:
    """Widths would go to the wrong convolution, or the order of the arguments, a promise, have changed."""
    assert shapes(PlainConv(8, [3, 5], 7, 2, 6)) == [(3, 8, 1, 1), (5, 3, 7, 7), (6, 5, 1, 1)]
    assert shapes(PlainConv(8, 3, [3, 1])) == [(3, 8, 1, 1), (3, 3, 3, 1), (8, 3, 1, 1)]
    assert shapes(PlainConv(8)) == shapes(PlainConv(8, 4, 3, 1, 8))
    assert shapes(PlainConv(1))[0] == (1, 1, 1, 1)


@pytest.mark.parametrize("args", [(3,), ([2, 5], 1), (4, 5, 3), (4, [1, 7], 4, 6), (2, 3, 1, 1)], ids=str)
def test_every_option(args: tuple) -> None:
    """An option would not do what it says."""
    torch.manual_seed(0)
    module, x = generic(PlainConv(6, *args)).double(), torch.randn(2, 6, 5, 4).double()
    torch.testing.assert_close(module(x), REFERENCES["PlainConv"](module, x), **TOLERANCE[torch.float64])


def test_widths_are_absolute() -> None:
    """A control that was fitted to a model would have another size, because its widths are scaled with the model."""
    d = scaled(host.load_yaml("yolov8n.yaml"))
    d["backbone"][7] = [-1, 1, "PlainConv", [{"hidden": [37, 40], "stride": 2, "dim_out": 256}]]
    assert shapes(host.build(d).model[7]) == [(37, 128, 1, 1), (40, 37, 3, 3), (256, 40, 1, 1)]


def test_in_the_place_of_any_stock_layer() -> None:
    """Layers behind it would get no weights, or it would get a few that happen to fit."""
    block, se = Layer("PlainConv", True, "*"), Layer("SE", True)
    source = [Layer("Conv"), Layer("C2f"), Layer("SPPF"), Layer("Detect")]
    assert align(source, [source[0], block, *source[2:]]) == [0, 1, 2, 3]
    assert align(source, [*source[:2], block, source[3]]) == [0, 1, 2, 3]
    assert align(source, [*source[:2], block, *source[2:]]) == [0, 1, None, 2, 3]
    assert align([source[0], block, *source[2:]], source) == [0, 1, 2, 3]
    assert align([source[0], se, source[3]], [source[0], block, source[3]]) == [0, None, 2]
    assert align(source, [*source[:2], block]) is None

    d = scaled(host.load_yaml("yolov8n.yaml"))
    stock = seeded(d)
    own = sum(len(stock.model[i].state_dict()) for i in (2, 5))
    d["backbone"][2] = [-1, 1, "PlainConv", [32]]  # as wide inside as the C2f there
    d["backbone"][5] = [-1, 1, "PlainConv", [64, 3, 2, 128]]
    d = yolo_attn.insert(d, "SE", 0)  # moves the numbers of all others
    assert transferred(seeded(d, like=stock), stock)[0] == len(stock.state_dict()) - own


@pytest.mark.parametrize("block", [Block(), Block(3, 5, (3, 3)), Block(7, 2, (1, 9))], ids=str)
@pytest.mark.parametrize("c1, c2", [(8, 8), (3, 16), (16, 5)])
def test_number_of_parameters(block: Block, c1: int, c2: int) -> None:
    """Controls would be fitted to another size than they have."""
    module = PlainConv(c1, [block.h1, block.h2], block.kernel, 1, c2)
    assert sum(p.numel() for p in module.parameters()) == block.parameters(c1, c2)


@pytest.mark.parametrize("make, message", [
    (lambda: PlainConv(0), "PlainConv: dim must be a positive integer, got 0"),
    (lambda: PlainConv(8, 0), "hidden must be a positive integer, got 0"),
    (lambda: PlainConv(8, [4, 2.5]), "hidden must be a positive integer, got 2.5"),
    (lambda: PlainConv(8, [4]), r"hidden must be one width or two, got \[4\]. Give a number, or \[h1, h2\]"),
    (lambda: PlainConv(8, 4, 2), "kernel_size must be odd, got 2. Choose one more or less"),
    (lambda: PlainConv(8, 4, [3, 4]), r"kernel_size must be odd, got \[3, 4\]"),
    (lambda: PlainConv(8, 4, 0), "kernel_size must be a positive integer or two of them, got 0"),
    (lambda: PlainConv(8, 4, 3, 0), "stride must be a positive integer, got 0"),
    (lambda: PlainConv(8, dim_out=0), "dim_out must be a positive integer, got 0"),
])  # fmt: skip
def test_bad_arguments(make, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        make()
