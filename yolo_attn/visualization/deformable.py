"""What deformable modules look at: where they sample, and how much each sample counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ..modules._sampling import at_least_float32, centres, window_points
from ..modules.dattention import DAttention
from ..modules.deform_conv import DeformConv
from ..modules.depatch import DePatch
from ..modules.msda import DeformableTransformerEncoderLayer, MSDeformAttn, flatten
from ..modules.sifa import SIFA, _correlate
from ..modules.slpt import SparseLocalPatch
from .looks import Boxes, Look, Points, looks, rows_of, softmax_weights


@looks.register
def _(module: DAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """All queries look at the same points, with weights of their own."""
    q = module.proj_q(x)
    keys, pos, _ = module._keys(x, q)
    h, w = x.shape[2:]
    by_head, k = module._heads(q)[0], module._heads(module.proj_k(keys))[0]
    if module.rpe_table is None or module.pe == "dwc":
        total = _total(by_head, k, queries, (h, w), lambda row: None)
    elif module.pe == "fixed":
        bias = module._fixed_bias((h, w), pos.shape[1:3])[0]
        total = _total(by_head, k, queries, (h, w), lambda row: bias[:, row * w : (row + 1) * w])
    else:
        rows, of_rows, whole = module._bias(q, pos)
        total = _total(by_head, k, queries, (h, w), lambda row: of_rows(rows[:, row : row + 1], *whole)[0])
    y, x_ = pos.flatten(1, 2).unbind(-1)  # g N, the centres of the first and last pixel at -1 and 1
    xy = torch.stack([((x_ + 1) * (w - 1) / 2 + 0.5) / w, ((y + 1) * (h - 1) / 2 + 0.5) / h], -1)
    groups = len(xy)
    if len(total) % groups:  # a head that has channels of two groups
        total = total.mean(0, keepdim=True).expand(groups, -1)
    else:
        total = rearrange(total, "(g n) k -> g n k", g=groups).mean(1)
    return [Points(xy.flatten(0, 1), total.flatten() / groups)]


def _total(q: Tensor, k: Tensor, queries: Tensor | None, size: Sequence[int], bias_of) -> Tensor:
    """Weights (heads, N) of the keys, the mean over queries, with a bias (heads, W, N) for each row of them or none."""
    total, count = k.new_zeros(k.shape[:2], dtype=at_least_float32(k).dtype), 0
    for row, columns in rows_of(queries, size):
        bias = bias_of(row)
        weights = softmax_weights(q[:, row * size[1] + columns], k, None if bias is None else bias[:, columns])
        total, count = total + weights.sum(1), count + len(columns)
    return total / count


@looks.register
def _(module: MSDeformAttn, x: Sequence[Tensor], queries: Tensor | None = None) -> list[Look]:
    """Every query has points of its own in every map."""
    first, others = module.split(x)
    where = centres(at_least_float32(first), *first.shape[2:])
    index = slice(None) if queries is None else queries[:, 0] * where.shape[1] + queries[:, 1]
    shapes = [each.shape[2:] for each in (first, *others)]
    points, weights = module.points(flatten(first)[:, index], where.flatten(0, 1)[None, index, None], shapes)
    count = weights[0].shape[1] * weights[0].shape[2]
    return [
        Points(torch.stack([(px + 0.5) / w, (py + 0.5) / h], -1).flatten(0, 3), weight.flatten() / count)
        for (px, py), weight, (h, w) in zip(points, weights, shapes, strict=True)
    ]


@looks.register
def _(module: DeformableTransformerEncoderLayer, x: Sequence[Tensor], queries: Tensor | None = None) -> list[Look]:
    return looks(module.self_attn, x, queries)


@looks.register
def _(module: DePatch, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    boxes = module.embed(x)[1][0]
    return [Boxes(boxes.flatten(0, 1) if queries is None else boxes[queries[:, 0], queries[:, 1]])]


@looks.register
def _(module: DeformConv, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The taps; what counts is the factor of each, without the kernel's weights."""
    offset, mask = module.offsets(x)
    kernel = module.conv.kernel_size
    offset = rearrange(offset, "1 (g k yx) h w -> g (k yx) h w", k=kernel[0] * kernel[1], yx=2)
    y, x_ = window_points(offset, kernel, *((each, each) for each in module.window))
    xy = torch.stack([(x_ + 0.5) / x.shape[3], (y + 0.5) / x.shape[2]], -1)  # g K h w 2
    weight = torch.ones_like(y) if mask is None else mask.view_as(y)
    if queries is not None:
        xy, weight = (each[:, :, queries[:, 0], queries[:, 1]] for each in (xy, weight))
    return [Points(xy.reshape(-1, 2), None if mask is None else (weight / weight.sum()).flatten())]


@looks.register
def _(module: SparseLocalPatch, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The points where the last stage has put them; what counts is the pixels' attention to their tokens."""
    tokens, points = module._tokens(x)
    q, k, _ = module._queries(x, tokens, points[-1])
    h, w = x.shape[2:]
    index = slice(None) if queries is None else queries[:, 0] * w + queries[:, 1]
    weight = softmax_weights(q[0, :, index], k[0], scale=1.0).mean((0, 1))
    size = weight.new_tensor([w, h])
    return [Points((points[-1][0] * (size - 1) + 0.5) / size, weight)]  # 0 and 1 are the centres of the outer pixels


@looks.register
def _(module: SIFA, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The windows in the next frame; what counts is the correlation. x is a frame and the next one, if there is one."""
    if len(x) < 2:
        return []
    before, frame = x[:1], x[1:2]
    h, w = x.shape[2:]
    window = module._window(frame, before)
    own = rearrange(at_least_float32(before), "1 c h w -> 1 (h w) c")
    factors = module.def_cor(torch.ones(1, dtype=torch.long, device=x.device))
    weight = torch.cat([_correlate(window(tap), own, factors[:, tap]) for tap in range(window.taps)], -1)
    index = slice(None) if queries is None else queries[:, 0] * w + queries[:, 1]
    px, py, weight = window.x[0, index, 0], window.y[0, index, 0], weight[0, index]
    return [
        Points(
            torch.stack([(px + 0.5) / w, (py + 0.5) / h], -1).flatten(0, 1),
            weight.flatten(),
            "correlation in the next frame",
        )
    ]
