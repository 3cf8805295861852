"""What deformable modules are said to look at is what their forward samples, with the weights that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import yolo_attn.visualization.run  # noqa: F401 (tells `looks` of all classes)
from yolo_attn import clips
from yolo_attn.modules import (
    SIFA,
    DAttention,
    DeformableTransformerEncoderLayer,
    DeformConv,
    DePatch,
    MSDeformAttn,
    SparseLocalPatch,
)
from yolo_attn.visualization.looks import Boxes, Points, looks

from .tiny import generic

SIZES = [(1, 1), (1, 7), (7, 5), (12, 9)]
QUERY = torch.tensor([[0, 0]])
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def made(build: Callable[..., nn.Module], *args: object, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return generic(build(*args, **options))


def noise(*shape: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(*shape)


def sampled(x: Tensor, xy: Tensor) -> Tensor:
    """Bilinear samples (C, N) of a map (1, C, H, W) at positions from edge to edge, zero outside."""
    return F.grid_sample(x, 2 * xy[None, None].to(x.dtype) - 1, padding_mode="zeros", align_corners=False)[0, :, 0]


def seen(layer: nn.Module, module: nn.Module, x: Tensor | Sequence[Tensor]) -> Tensor:
    """What a layer inside a module takes in, in a forward of the module."""
    found: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with torch.no_grad():
        module(x)
    handle.remove()
    return found[-1]


def last(size: Sequence[int]) -> Tensor:
    """The last pixel of a map, as a query."""
    return torch.tensor([[size[0] - 1, size[1] - 1]])


DAT = [
    {"pe": "none"},
    {"pe": "dwc"},
    {"pe": "fixed", "q_size": (7, 5)},
    {"pe": "table", "q_size": (7, 5)},
    {"pe": "log_cpb"},
    {"pe": "none", "no_off": True, "stride": 2, "kernel_size": 3},
    {"pe": "log_cpb", "stride": 2, "offset_range": 2},
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", DAT, ids=str)
def test_dattention(options: dict, size: tuple[int, int]) -> None:
    """A picture would show other points or weights than those that make the result."""
    module, x = made(DAttention, 8, num_heads=1, **options), noise(1, 8, *size)
    query = last(size)
    with torch.no_grad():
        (points,) = looks(module, x, query)
        keys = seen(module.proj_k, module, x)
        if not module.no_off:
            assert torch.allclose(sampled(x, points.xy), keys[0].flatten(1), **CLOSE)
        result = seen(module.proj_out, module, x)
        if module.pe == "dwc":
            result = result - module.rpe_table(module.proj_q(x))
        values = module.proj_v(keys)[0].flatten(1)
    assert torch.allclose(values @ points.weight, result[0, :, query[0, 0], query[0, 1]], **CLOSE)
    assert points.weight.sum().item() == pytest.approx(1)


def test_dattention_by_group() -> None:
    """Each group has points of its own, whose weights are those of its own heads."""
    module, x = made(DAttention, 8, num_heads=4, num_groups=2), noise(1, 8, 7, 5)
    with torch.no_grad():
        (points,) = looks(module, x, QUERY)
        keys = seen(module.proj_k, module, x)[0].flatten(1)
        q, k = module.proj_q(x)[0, :, 0, 0], module.proj_k(keys[None, :, :, None])[0, :, :, 0]
    for group in range(2):
        xy = points.xy.view(2, -1, 2)[group]
        assert torch.allclose(sampled(x[:, 4 * group : 4 * group + 4], xy), keys[4 * group : 4 * group + 4], **CLOSE)
        heads = [slice(4 * group + 2 * n, 4 * group + 2 * n + 2) for n in range(2)]
        weights = torch.stack([(q[h] @ k[h] / 2**0.5).softmax(-1) for h in heads]).mean(0)
        assert torch.allclose(points.weight.view(2, -1)[group] * 2, weights, **CLOSE)


@pytest.mark.parametrize("options", DAT[:5], ids=str)
def test_the_mean_over_all_pixels(options: dict) -> None:
    """Blocks of rows, and the bias of each row, would be put together wrongly."""
    module, x = made(DAttention, 8, num_heads=2, **options), noise(1, 8, 4, 3)
    with torch.no_grad():
        each = [looks(module, x, torch.tensor([[r, c]]))[0].weight for r in range(4) for c in range(3)]
        some = looks(module, x, torch.tensor([[3, 1], [0, 2], [3, 0]]))[0].weight
        assert torch.allclose(looks(module, x)[0].weight, torch.stack(each).mean(0), **CLOSE)
    assert torch.allclose(some, torch.stack([each[10], each[2], each[9]]).mean(0), **CLOSE)


@pytest.mark.parametrize("build", [MSDeformAttn, DeformableTransformerEncoderLayer])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ms_deform_attn(build: type, size: tuple[int, int]) -> None:
    """Points of another map, pixel or head would be drawn."""
    module = made(build, 8, num_heads=1, num_points=3, in_channels=(6, 8))
    x = [noise(1, 6, *size), noise(1, 8, 3, 4)]
    attention = getattr(module, "self_attn", module)
    query = last(size)
    with torch.no_grad():
        found = looks(module, x, query)
        result = seen(attention.output_proj, module, x)[0, -1]
        total = torch.zeros(8)
        for points, project, each in zip(found, attention.proj, x, strict=True):
            value = F.conv2d(project(each), attention.value_proj.weight[:, :, None, None], attention.value_proj.bias)
            total += sampled(value, points.xy) @ points.weight
    assert torch.allclose(total, result, **CLOSE)
    assert sum(points.weight.sum() for points in found).item() == pytest.approx(1)
    with torch.no_grad():
        everything = looks(module, x)
    assert sum(len(points.xy) for points in everything) == 2 * 3 * size[0] * size[1]
    assert sum(points.weight.sum() for points in everything).item() == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (12, 9)], ids=str)
def test_de_patch(size: tuple[int, int]) -> None:
    """A box would be drawn where nothing is sampled."""
    module, x = made(DePatch, 8, 12, patch_pixel=2), noise(1, 8, *size)
    (boxes,) = looks(module, x, last([(n + 1) // 2 for n in size]))
    assert isinstance(boxes, Boxes) and boxes.xyxy.shape == (1, 4)
    x1, y1, x2, y2 = boxes.xyxy[0].tolist()
    corners = torch.tensor([(x1, y1), (x1, y2), (x2, y1), (x2, y2)])  # y runs first
    samples = seen(module.output_proj, module, x)[0, -1, -1]
    assert torch.allclose(sampled(x, corners).t().flatten(), samples, **CLOSE)
    assert len(looks(module, x)[0].xyxy) == -(-size[0] // 2) * -(-size[1] // 2)


@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"offset_groups": 2}], ids=str)
def test_deform_conv(options: dict, modulated: bool) -> None:
    """Taps would be drawn elsewhere, or with another tap's factor."""
    module, x = made(DeformConv, 4, 6, modulated=modulated, **options), noise(1, 4, 7, 5)
    groups = options.get("offset_groups", 1)
    with torch.no_grad():
        (points,) = looks(module, x, QUERY)
        result = _convolved(module, x)[:, 0, 0]
        factors = torch.ones(9 * groups)
        if modulated:
            factors = module.offsets(x)[1][0, :, 0, 0]
            assert torch.allclose(points.weight, factors / factors.sum(), **CLOSE)
        xy = points.xy.view(groups, 9, 2)
        width = 4 // groups
        parts = [sampled(x[:, g * width : (g + 1) * width], xy[g]) * factors.view(groups, 9)[g] for g in range(groups)]
    total = torch.einsum("ock,ck->o", module.conv.weight.flatten(2), torch.cat(parts))
    assert torch.allclose(total, result, rtol=1e-4, atol=1e-4)
    assert len(looks(module, x)[0].xy) == len(points.xy) * _convolved(module, x)[0].numel()


def _convolved(module: DeformConv, x: Tensor) -> Tensor:
    """What the convolution gives, before BatchNorm and SiLU."""
    bn, act = module.bn, module.act
    module.bn, module.act = nn.BatchNorm2d(6).eval(), nn.Identity()
    try:
        with torch.no_grad():
            return module(x)[0] * (1 + module.bn.eps) ** 0.5
    finally:
        module.bn, module.act = bn, act


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sparse_local_patch(size: tuple[int, int]) -> None:
    """Points of another stage, or another pixel's weights, would be drawn."""
    module, x = made(SparseLocalPatch, 8, 5, 3, 2, 2, 1), noise(1, 8, *size)
    query = last(size)
    with torch.no_grad():
        (points,) = looks(module, x, query)
        result = seen(module.proj_out, module, x)[0, :, query[0, 0], query[0, 1]]
        tokens, at = module._tokens(x)
        values = module.proj_kv(tokens)[0, :, 4:]
        assert torch.allclose(points.weight @ values, result, **CLOSE)
        pixels = points.xy * torch.tensor([size[1], size[0]]) - 0.5
        most = torch.tensor([size[1] - 1, size[0] - 1])
        assert torch.allclose(pixels, at[-1][0] * most, **CLOSE)
        each = [looks(module, x, torch.tensor([[r, c]]))[0].weight for r in range(size[0]) for c in range(size[1])]
        assert torch.allclose(looks(module, x)[0].weight, torch.stack(each).mean(0), **CLOSE)


def test_sifa() -> None:
    """Points in the wrong frame, or of another pixel, would be drawn."""
    module, x = made(SIFA, 8, layer_scale=None), noise(2, 8, 7, 5)
    with torch.no_grad():
        module.conv_offset.weight.mul_(0.3)
        (points,) = looks(module, x, torch.tensor([[3, 2]]))
        assert isinstance(points, Points) and len(points.xy) == 9
        with clips(module, 2):
            gathered = (module(x) - x)[0, :, 3, 2]
        assert torch.allclose(sampled(x[1:], points.xy) @ points.weight, gathered, **CLOSE)
    assert looks(module, x[:1]) == []
    assert len(looks(module, x)[0].xy) == 9 * 35
