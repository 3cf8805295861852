"""MHSA: arXiv:1706.03762, eq. 1 and section 3.2.2; positions arXiv:2101.11605, fig. 4, with sines of distances."""

import math

import torch
from torch import Tensor

from .common import conv1x1


def waves(y: float, x: float, count: int) -> Tensor:
    """Sines and cosines of a row or rows' distance, then those of a column."""
    each = [[f(p * 10_000 ** (-i / count)) for i in range(count)] for p in (y, x) for f in (math.sin, math.cos)]
    return torch.tensor(each, dtype=torch.float64).flatten()


def mhsa(module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    d = c // module.num_heads
    places = [(y, x) for y in range(h) for x in range(w)]
    q, k, v = conv1x1(module.qkv, x).split(c, 1)
    out = torch.zeros_like(x)
    for n in range(b):
        for head in range(module.num_heads):
            part = slice(head * d, (head + 1) * d)
            for yi, xi in places:
                logits = []
                for yj, xj in places:
                    key = k[n, part, yj, xj]
                    if module.pe == "absolute":
                        key = key + module.pos.weight @ waves(yj, xj, max(d // 4, 1))
                    if module.pe == "relative":
                        key = key + module.pos.weight @ waves(yj - yi, xj - xi, max(d // 4, 1))
                    logits.append(q[n, part, yi, xi] @ key / d**0.5)
                weights = torch.stack(logits).exp()
                weights = weights / weights.sum()
                out[n, part, yi, xi] = sum(a * v[n, part, yj, xj] for a, (yj, xj) in zip(weights, places, strict=True))
    return conv1x1(module.proj, out)
