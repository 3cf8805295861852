"""DPT: CASIA-IVA-Lab/DPT, its classification and its detection copy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from yolo_attn.modules import DePatch
from yolo_attn.modules.depatch import PatchEmbed, PointCoder, PointWHCoder, spread

from .ours import Ours


class OnTokens(nn.Module):
    """One of ours with the official sizes and layout: patches are tokens in rows, all in one dimension."""

    def __init__(self, inner: nn.Module, call: Callable[..., object]) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, x: Tensor) -> object:
        return self.call(self.inner, x)


def depatch(box_coder, img_size=224, patch_size=16, patch_pixel=16, patch_count=14, in_chans=3, embed_dim=192,
            another_linear=False, use_GE=False, local_feature=False, with_norm=False, show_dim=4, use_auxiliary=-1,
            detection=False):  # fmt: skip
    assert show_dim == 4 and use_auxiliary < 0
    stride = img_size // patch_count
    module = DePatch(
        in_chans,
        embed_dim,
        stride,
        1 if local_feature else patch_size,
        patch_pixel,
        wh_bias=box_coder.get("wh_bias"),
        tanh=box_coder.get("tanh", True),
        act="gelu" if use_GE else "identity",
        hidden=another_linear,
        norm=with_norm,
        code_weights=box_coder.get("weights", (1.0,) * 4),
        reopen=False,
    )

    def call(ours: DePatch, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = x if x.ndim == 4 else x.transpose(1, 2).unflatten(2, (img_size, img_size))
        size = [n // stride for n in x.shape[2:]] if detection else [patch_count] * 2
        y, boxes = ours.embed(x, size)
        return y.flatten(2).transpose(1, 2), boxes.flatten(1, 2), torch.tensor(size)

    return OnTokens(module, call)


def patch_embed(img_size=224, patch_size=16, patch_count=14, in_chans=3, embed_dim=768, with_norm=False):
    def call(ours: PatchEmbed, x: Tensor) -> Tensor:
        return ours(x, [patch_count] * 2).flatten(1, 2)

    return OnTokens(PatchEmbed(in_chans, embed_dim, patch_size, img_size // patch_count, with_norm), call)


def point_coder(input_size, patch_count, weights=(1.0, 1.0), tanh=True):
    def call(ours: PointCoder, codes: Tensor) -> tuple[Tensor, Tensor]:
        points = ours(codes.unflatten(1, (patch_count, patch_count))).flatten(1, 2)
        return points, points

    return OnTokens(PointCoder(weights, tanh), call)


def point_wh_coder(input_size, patch_count, weights=(1.0,) * 4, pts=1, tanh=True, wh_bias=None):
    def call(ours: PointWHCoder, codes: Tensor) -> tuple[Tensor, Tensor]:
        boxes = ours(codes.unflatten(1, (patch_count, patch_count))).flatten(1, 2)
        return spread(boxes, pts).flatten(1, 3), boxes

    return OnTokens(PointWHCoder(weights, tanh, wh_bias, reopen=False), call)


NAMES = {"": "inner."}
TABLE = {
    "DPT.Simple_DePatch": Ours(depatch, NAMES),
    "DPTDet.Simple_DePatch": Ours(lambda **official: depatch(**official, detection=True), NAMES),
    "DPT.PatchEmbed": Ours(patch_embed, NAMES),
    "DPT.pointCoder": Ours(point_coder, NAMES),
    "DPT.pointwhCoder": Ours(point_wh_coder, NAMES),
}
