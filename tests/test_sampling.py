"""What the mechanisms share: bilinear samples, and groups of positions."""

from __future__ import annotations

import pytest
import torch

from yolo_attn.modules._sampling import sample, sample_pixels
from yolo_attn.modules._windows import Groups

from .conftest import TOLERANCE
from .reference.common import bilinear


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)], ids=str)
def test_samples(size: tuple[int, int]) -> None:
    """Points would be read at another place, above all on an axis of one pixel."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    pixels = torch.rand(2, 4, 6, 2, dtype=torch.float64) * (torch.tensor(size) + 2) - 1.5
    want = torch.stack([
        torch.stack([torch.stack([bilinear(image, *p) for p in row]) for row in points])
        for image, points in zip(x, pixels, strict=True)
    ]).permute(0, 3, 1, 2)  # fmt: skip
    torch.testing.assert_close(sample_pixels(x, *pixels.unbind(-1)), want, **TOLERANCE[torch.float64])
    edges = (2 * pixels + 1) / torch.tensor(size) - 1
    torch.testing.assert_close(sample(x, *edges.unbind(-1), align_corners=False), want, **TOLERANCE[torch.float64])
    if min(size) > 1:
        centres = pixels / (torch.tensor(size) - 1) * 2 - 1
        torch.testing.assert_close(sample(x, *centres.unbind(-1)), want, **TOLERANCE[torch.float64])
    half = sample_pixels(x.half(), *pixels.half().unbind(-1))
    assert half.dtype == torch.float16


@pytest.mark.parametrize("split_padding", [False, True])
@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("group", [(3, 3), (4, 2), (1, 5)], ids=str)
@pytest.mark.parametrize("size", [(7, 10), (1, 1), (8, 12), (3, 5)], ids=str)
def test_groups(size: tuple[int, int], group: tuple[int, int], interval: int, split_padding: bool) -> None:
    """Positions would be lost, mixed up, or grouped with others than those at the interval."""
    groups = Groups(size, group, interval, split_padding)
    at = torch.stack(torch.meshgrid(*(torch.arange(1.0, n + 1) for n in size), indexing="ij"), -1)[None]
    parts = groups.split(at)
    assert torch.equal(groups.join(parts), at)
    real = groups.real(at.device)
    left, right, top, bottom = groups.padding
    assert max(left + right, top + bottom) < interval * max(group)
    assert (top <= bottom <= top + 1 and left <= right <= left + 1) if split_padding else not (top or left)
    if real is None:
        assert not any(groups.padding)
    else:
        assert torch.equal(parts[0].amin(-1) > 0, real) and real.sum() == size[0] * size[1]
    members = parts[0].unflatten(1, group)
    for axis in (0, 1):
        steps = members.diff(dim=axis + 1)[..., axis]
        ends = members.narrow(axis + 1, 0, group[axis] - 1).amin(-1), members.narrow(axis + 1, 1, group[axis] - 1)
        inside = (ends[0] > 0) & (ends[1].amin(-1) > 0)
        assert (steps[inside] == interval).all()
