"""Multi-scale deformable attention and its encoder layer: maps of several sizes, options and bad arguments."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from yolo_attn.patches import host

import yolo_attn
from yolo_attn.modules import DeformableTransformerEncoderLayer, MSDeformAttn, Residual
from yolo_attn.modules.msda import multi_scale_deformable_attention

from .conftest import TOLERANCE
from .reference import REFERENCES
from .reference.msda import attend
from .tiny import generic

SIZES = {"a pyramid": [(4, 6), (2, 3), (1, 2)], "up": [(1, 1), (5, 3)], "odd": [(3, 1), (1, 4), (5, 5)]}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("options", [
    {}, {"num_heads": 1, "num_points": 1}, {"head_dim": 4, "num_points": 3},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("cls", [MSDeformAttn, DeformableTransformerEncoderLayer])
def test_maps_of_several_sizes_and_widths(cls: type, options: dict, sizes: list[tuple[int, int]]) -> None:
    """Pixels would look at other places than their own in a map of another size, or an axis would be mistaken."""
    torch.manual_seed(0)
    widths = [8, 6, 16][: len(sizes)]
    module = generic(cls(8, in_channels=widths, **options)).double()
    maps = [torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(widths, sizes, strict=True)]
    y = module(maps)
    assert y.shape == (2, 8, *sizes[0])
    torch.testing.assert_close(y, REFERENCES[cls.__name__](module, *maps), **TOLERANCE[torch.float64])
    assert torch.equal(module(*maps), y)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("numbers", [2, 4])
def test_any_queries(numbers: int, masked: bool) -> None:
    """Queries that are no pixels, boxes or padding would not mean what they mean in Deformable DETR."""
    torch.manual_seed(0)
    module = generic(MSDeformAttn(8, 2, 3, [8, 8])).double()
    shapes = [(3, 4), (1, 2)]
    query, value = (torch.randn(2, n, 8, dtype=torch.float64) for n in (5, 14))
    points = torch.rand(2, 5, 2, numbers, dtype=torch.float64) * 1.4 - 0.2
    mask = torch.rand(2, 14) < 0.4 if masked else None
    want = attend(module, query, points, value, shapes, mask)
    torch.testing.assert_close(module.attend(query, points, value, shapes, mask), want, **TOLERANCE[torch.float64])


def test_half_precision_locations() -> None:
    """In half precision a pixel of a large map would look beside its place."""
    module = MSDeformAttn(8, 8, 1, [8])
    for layer in (module.value_proj, module.output_proj):
        nn.init.eye_(layer.weight)
    stripes = (torch.arange(640) % 2).float().expand(1, 8, 2, 640).contiguous()  # a point beside its place is a mixture
    want = module([stripes])
    torch.testing.assert_close(module.half()([stripes.half()]).float(), want, atol=0.01, rtol=0)


def test_memory_is_that_of_one_map() -> None:
    """Samples of all maps would be in memory at once."""
    value, shapes = torch.randn(1, 3 * 16, 2, 4), [(4, 4)] * 3
    locations, weights = torch.rand(1, 50, 2, 3, 4, 2), torch.rand(1, 50, 2, 3, 4)
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    with Sizes():
        multi_scale_deformable_attention(value, shapes, locations, weights)
    assert largest == 8 * 8 * 8  # the pixels of a map with its margin, more than 50 * 2 * 4 points


def test_official_initialisation() -> None:
    """The points would not start as a star around the query, with equal weights."""
    module = MSDeformAttn(32, 8, 3, [32] * 2)
    bias = module.sampling_offsets.bias.reshape(8, 2, 3, 2)
    for head, (x, y) in enumerate([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]):
        for point in range(3):
            want = torch.tensor([x, y], dtype=torch.float32) * (point + 1)
            torch.testing.assert_close(bias[head, :, point], want.expand(2, 2))
    six = MSDeformAttn(12, 6, 1).sampling_offsets.bias.reshape(6, 2, 2)[1, 0]
    torch.testing.assert_close(six, torch.tensor([1 / math.sqrt(3), 1.0]))  # 60 degrees, on the edge of the square
    for name in ("sampling_offsets.weight", "attention_weights.weight", "attention_weights.bias", "value_proj.bias"):
        assert not module.get_parameter(name).any(), name
    for layer in (module.value_proj, module.output_proj):
        bound = math.sqrt(6 / 64)
        assert 0.9 * bound < layer.weight.abs().max() <= bound


def test_official_names() -> None:
    """Published weights would not load strictly where all maps have one width."""
    attention = {
        f"{layer}.{kind}"
        for layer in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        for kind in ("weight", "bias")
    }
    assert set(MSDeformAttn(8, in_channels=[8] * 4).state_dict()) == attention
    layer = DeformableTransformerEncoderLayer(8, in_channels=[8] * 4)
    rest = {f"{part}.{kind}" for part in ("norm1", "linear1", "linear2", "norm2") for kind in ("weight", "bias")}
    assert set(layer.state_dict()) == rest | {f"self_attn.{key}" for key in attention}
    assert layer.linear1.out_features == 32


def test_options_of_the_encoder_layer() -> None:
    """An option would not reach the layer that it is for, or dropout act in validation."""
    layer = DeformableTransformerEncoderLayer(8, 2, 3, 0.5, 0.2, [8, 4])
    assert (layer.self_attn.num_heads, layer.self_attn.num_points, layer.linear1.out_features) == (2, 3, 4)
    assert [m.p for m in layer.modules() if isinstance(m, nn.Dropout)] == [0.2] * 3
    x = [torch.randn(1, 8, 3, 3), torch.randn(1, 4, 2, 2)]
    want = layer.eval()(x)
    for name in ("dropout1", "dropout2", "dropout3"):
        layer = copy.deepcopy(layer).train()
        for k in ("dropout1", "dropout2", "dropout3"):
            layer.get_submodule(k).p = float(k == name)
        assert not torch.equal(layer(x), want) and torch.equal(layer.eval()(x), want)


@pytest.mark.parametrize("dim", [64, 80, 128, 160, 192, 256, 320, 384, 512, 576, 640])
def test_every_width_of_yolov8(dim: int) -> None:
    """A row without arguments would not suit some scale."""
    assert MSDeformAttn(dim).num_heads == 8 and MSDeformAttn(dim, head_dim=16).num_heads == dim // 16


def test_one_row_in_a_yaml() -> None:
    """The row would mean Ultralytics' class of the same name, or take other widths than those of its inputs."""
    d = yolo_attn.insert("yolov8n.yaml", "MSDeformAttn", ["p3", "p5"], {"num_points": 2}, mode="plain")
    model = host.build(d).model
    rows = [m for m in model if type(m) is MSDeformAttn]
    assert [m.in_channels for m in rows] == [[64, 256], [256, 64]] and rows[0].num_points == 2
    assert [m.output_proj.out_features for m in rows] == [64, 256]
    beside = yolo_attn.insert("yolov8n.yaml", "MSDeformAttn", ["p3", "p5"], 128)
    wrapped = [m for m in host.build(beside).model if type(m) is Residual]
    assert [m.fn.in_channels for m in wrapped] == [[64, 256], [256, 64]]
    assert [m.proj.weight.shape[:2] for m in wrapped] == [(64, 32), (256, 32)]


@pytest.mark.parametrize("scale", ["n", "s", "m", "l", "x"])
@pytest.mark.parametrize("name", ["msda", "msda-encoder"])
def test_shipped_models(name: str, scale: str) -> None:
    """A shipped YAML would not build at a scale, or a row read a map that another row has refined."""
    model = YOLO(f"yolov8{scale}-{name}.yaml").model
    rows = [m for m in model.model if type(m) is Residual]
    assert [m.f for m in rows] == [[15, 15, 18, 21], [18, 18, 15, 21], [21, 21, 15, 18]]
    assert model.model[-1].f == [22, 23, 24]


@pytest.mark.parametrize("call, message", [
    (lambda: MSDeformAttn(12), "num_heads must divide dim, got num_heads=8 and dim=12. Choose one of 1, 2, 3, 4"),
    (lambda: MSDeformAttn(64, head_dim=48), "head_dim must divide dim, got head_dim=48 and dim=64"),
    (lambda: MSDeformAttn(64, 5, head_dim=32), "give num_heads or head_dim, got 5 and 32 with 64 channels"),
    (lambda: MSDeformAttn(64, 0), "num_heads must be a positive integer, got 0"),
    (lambda: MSDeformAttn(64, num_points=0), "num_points must be a positive integer, got 0"),
    (lambda: MSDeformAttn(64, in_channels=[]), "inputs must be a positive integer, got 0"),
    (lambda: MSDeformAttn(64, in_channels=[64, 0]), r"in_channels\[1\] must be a positive integer, got 0"),
    (lambda: MSDeformAttn(8)(torch.zeros(1, 8, 2, 2)), r"inputs must have \[8, 8\] channels, got \[8\]. Give in_ch"),
    (lambda: MSDeformAttn(8)([torch.zeros(1, 8, 2, 2), torch.zeros(1, 4, 2, 2)]), r"\[8, 8\] channels, got \[8, 4\]"),
    (lambda: MSDeformAttn(8).attend(torch.zeros(1, 1, 8), torch.zeros(1, 1, 2, 3), torch.zeros(1, 2, 8), [(1, 1)] * 2),
     r"reference_points must be \(x, y\) or \(x, y, w, h\), got 3 numbers. Give 2 or 4"),
    (lambda: DeformableTransformerEncoderLayer(8, drop=2), "drop must be a number from 0 to 1, got 2"),
    (lambda: DeformableTransformerEncoderLayer(8, mlp_ratio=0), "mlp_ratio must be a number from 0.125, got 0"),
    (lambda: yolo_attn.insert("yolov8n.yaml", "MSDeformAttn", "sppf"), r"MSDeformAttn fuses several maps, and layer 9"),
])  # fmt: skip
def test_bad_arguments(call, message: str) -> None:
    """A user would read a shape error from deep inside, or nothing at all."""
    with pytest.raises(ValueError, match=message):
        call()
