"""BiLevelRouting: arXiv:2303.08810, eq. 3-4 (affinity of regions), eq. 5 (the k best), eq. 6-7 (gathering), eq. 8."""

from itertools import pairwise

import torch
from torch import Tensor

from .common import conv1x1, depthwise


def regions(height: int, width: int, s: int) -> list[list[tuple[int, int]]]:
    """The pixels of all regions, which begin at the whole part of i / s of a side."""
    sides = []
    for n in (height, width):
        cuts = [int(i * n / s + 1e-9) for i in range(s + 1)]
        sides.append([range(a, b) for a, b in pairwise(cuts)])
    return [[(y, x) for y in rows for x in columns] for rows in sides[0] for columns in sides[1]]


def bi_level_routing(module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    d = c // module.num_heads
    q, k, v = conv1x1(module.qkv_linear, x).split(c, 1)
    out = depthwise(module.lepe, v)
    parts = [part for part in regions(h, w, module.n_win) if part]
    for n in range(b):

        def mean(t: Tensor, part: list) -> Tensor:
            return sum(t[n, :, y, x] for y, x in part) / len(part)  # noqa: B023

        for part in parts:
            affinity = [(mean(q, part) @ mean(k, other)).item() for other in parts]
            best = sorted(range(len(parts)), key=lambda i: -affinity[i])[: module.topk]
            keys = [place for i in best for place in parts[i]]
            for y, x_ in part:
                for head in range(module.num_heads):
                    own = slice(head * d, (head + 1) * d)
                    logits = [q[n, own, y, x_] @ k[n, own, ky, kx] / c**0.5 for ky, kx in keys]
                    weights = torch.stack(logits).exp()
                    values = zip(weights / weights.sum(), keys, strict=True)
                    out[n, own, y, x_] += sum(a * v[n, own, ky, kx] for a, (ky, kx) in values)
    return conv1x1(module.output_linear, out)
