"""SLPT: Jiahao-UTS/SLPT-master."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yolo_attn.modules._roi import interpolate, patch_tokens, roi
from yolo_attn.modules.slpt import InherentLayer, InherentRelation

from ..golden import Case
from ..reference.common import bilinear
from .ours import Function, Ours


class Network(nn.Module):
    """The official network behind its backbone: three stages, each with landmarks from every layer.

    Positions are cut off from gradients: the landmarks themselves are supervised.
    """

    def __init__(self, points: Tensor, dim: int, patch_size: int, layers: int, heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.points, self.patch_size = points, patch_size
        self.feature_extractor = nn.Conv2d(dim, dim, patch_size, bias=False)
        self.feature_norm = nn.LayerNorm(dim)  # not used
        self.Transformer = InherentRelation(len(points), dim, layers, heads, hidden_dim)
        self.out_layer = nn.Linear(dim, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        landmarks = [self.points.expand(len(x), 1, -1, 2)]
        for half_length in (8 / 64, 4 / 64, 2 / 64):
            grid, length, start = roi(landmarks[-1][:, -1].detach(), half_length, self.patch_size)
            tokens = self.Transformer(patch_tokens(self.feature_extractor, x, grid))
            landmarks.append(start[:, None] + length[:, None] * self.out_layer(tokens))
        return tuple(landmarks[1:])


def network(num_point, d_model, nhead, feedforward_dim, init_face, SAMPLE_NUM, NUM_DECODER, **backbone):
    assert len(init_face) == num_point
    return Network(torch.tensor(init_face) / 256, d_model, SAMPLE_NUM, NUM_DECODER, nhead, feedforward_dim)


def layer(d_model, nhead, dim_feedforward=2048, dropout=0.1, activation="relu", normalize_before=True):
    return InherentLayer(d_model, nhead, dim_feedforward, dropout, activation, normalize_before)


def relation(
    num_points,
    d_model,
    nhead,
    num_decoder_layer,
    dim_feedforward=2048,
    dropout=0.1,
    activation="relu",
    normalize_before=True,
):
    return InherentRelation(
        num_points, d_model, num_decoder_layer, nhead, dim_feedforward, dropout, activation, normalize_before
    )


def batch_first(module: InherentLayer, tgt, memory, pos, query_pos, padding=None) -> Tensor:
    sequences = (x.transpose(0, 1) for x in (tgt, memory, pos, query_pos))
    return module(*sequences, padding).transpose(0, 1)


def on_pixel_axes(maps: Tensor, points: Tensor) -> Tensor:
    """Samples of maps (B, C, H, W) at points (B, N, 2) as (x, y), each axis by its own size."""
    h, w = maps.shape[2:]
    at = points.clamp(0, 1) * torch.tensor([w - 1, h - 1])
    return torch.stack([torch.stack([bilinear(m, y, x) for x, y in p]) for m, p in zip(maps, at, strict=True)])


def not_square(case: Case) -> bool:
    first = next(iter(case.about["inputs"].values()))["shape"]
    return first[-2] != first[-1]


def on_pixels(case: Case) -> bool:
    """Samples exactly at pixels of a map, where floor and ceil are one; a map of one pixel has no slope anyway."""
    x, points = case.tensors["in/feature_maps"], case.tensors["in/anchor"]
    pixels = points.clamp(0, 1) * (x.shape[-1] - 1)
    inside = (points >= 0) & (points < 1)
    found = bool((inside & (pixels == pixels.round())).any())
    return found and x.shape[-1] > 1 and "gin/anchor" in case.tensors


TABLE = {
    "SLPT.get_roi": Ours(
        lambda num_points, half_length, img_size: Function(lambda p: roi(p, half_length / img_size, num_points))
    ),
    "SLPT.interpolation_layer": Ours(
        lambda: Function(interpolate),
        bugs={
            "one axis' size is taken for both": not_square,
            "no gradient to positions exactly on a pixel": on_pixels,
        },
        right=lambda _, maps, points: on_pixel_axes(maps, points),
    ),
    "SLPT.Inherent_Layer": Ours(layer, call=batch_first),
    "SLPT.Transformer": Ours(relation),
    "SLPT.Sparse_alignment_network": Ours(network, bugs={"one axis' size is taken for both": not_square}),
}
