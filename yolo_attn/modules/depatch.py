"""Deformable patch embedding (DePatch, from DPT: Chen et al., ACM MM 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import boolean, number, one_of, positive
from ._export import at_least, exporting
from ._layout import as_layout
from ._roi import spread
from ._sampling import Sampler, at_least_float32, centres, divided, without_autocast

QUARTER = math.atanh(0.25)  # of a patch: a box of stride 2 then starts from the first pixel's centre to the last one's


class PointCoder(nn.Module):
    """A point for each patch of a regular grid: the patch's centre, moved by at most one patch.

    Args:
        weights: What the codes of x and y are divided by.
        tanh: Whether tanh bounds the move to one patch.

    Shape:
        Codes (B, h, w, 2) for a grid of h x w patches to points (B, h, w, 2), both as (x, y). Points are at 0 to 1,
        from one edge of the map to the other.

    References:
        The official code of arXiv:2107.14467. Differs: the grid is that of the codes, and not fixed at construction.
    """

    def __init__(self, weights: Sequence[float] = (1.0, 1.0), tanh: bool = True) -> None:
        super().__init__()
        boolean(self, tanh=tanh)
        self.weights, self.tanh = _divisors(self, weights, 2), tanh

    def forward(self, codes: Tensor) -> Tensor:
        return self.centres(codes).clamp(0, 1)

    def centres(self, codes: Tensor) -> Tensor:
        """The moved centres, also those outside the map."""
        codes = at_least_float32(codes)
        h, w = codes.shape[1:3]
        move = divided(codes, *self.weights)
        move = move.tanh() if self.tanh else move
        return centres(codes, h, w) + divided(move, w, h)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.pop(f"{prefix}anchor", None)  # the official grid, of one size
        super()._load_from_state_dict(state_dict, prefix, *rest)


class PointWHCoder(PointCoder):
    """A box for each patch of a regular grid: around the moved centre, at most two patches wide and high.

    Args:
        weights: What the four codes are divided by, in the order of the official code: x, y, height, width.
        tanh: Whether tanh bounds the move to one patch. The size is bounded in any case.
        wh_bias: Start of a learned bias of the size codes, None for no bias. Half a side is tanh(wh_bias) patches where
            the codes are zero, and none at 0 and below.
        reopen: Whether a box of no size gets the gradient that would open it again. A plain relu gives it none.

    Shape:
        Codes (B, h, w, 4) as (x, y, width, height) to boxes (B, h, w, 4) as (x1, y1, x2, y2), clamped to the map,
        which is 0 to 1.

    References:
        Chen et al., ACM MM 2021, arXiv:2107.14467, section 3.2. Differs: as PointCoder; boxes reopen; the codes are not
        changed in place.
    """

    no_weight_decay = ("wh_bias",)

    def __init__(
        self,
        weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        tanh: bool = True,
        wh_bias: float | None = QUARTER,
        reopen: bool = True,
    ) -> None:
        x, y, height, width = _divisors(self, weights, 4)
        super().__init__((x, y), tanh)
        boolean(self, reopen=reopen)
        self.size_weights, self.reopen = (width, height), reopen
        if wh_bias is not None:
            number(self, wh_bias=wh_bias)
        self.wh_bias = None if wh_bias is None else nn.Parameter(torch.full((2,), float(wh_bias)))

    def forward(self, codes: Tensor) -> Tensor:
        codes = at_least_float32(codes)
        h, w = codes.shape[1:3]
        centre, size = self.centres(codes[..., :2]), codes[..., 2:]
        size = size if self.wh_bias is None else size + self.wh_bias
        size = divided(size, *self.size_weights).tanh()
        half = size + (size.relu() - size).detach() if self.reopen else size.relu()
        half = divided(half, w, h)
        return torch.cat([centre - half, centre + half], -1).clamp(0, 1)


class PatchEmbed(nn.Module):
    """A regular patch embedding: one strided convolution, and a LayerNorm.

    Args:
        c1: Number of channels of the map.
        c2: Number of channels of a patch.
        patch_size: Height and width of a patch.
        stride: Stride between patches.
        norm: Whether there is a LayerNorm.

    Shape:
        Map (B, c1, H, W) and the wanted size (h, w) to patches (B, h, w, c2). Zeros are added on both sides where the
        patches reach over the map, the odd one at the bottom and right.

    References:
        The official code of arXiv:2107.14467. Differs: any size; an odd number of zeros is possible.
    """

    def __init__(self, c1: int, c2: int, patch_size: int, stride: int, norm: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(c1, c2, patch_size, stride)
        self.norm = nn.LayerNorm(c2) if norm else nn.Identity()

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        (k, _), (stride, _) = self.proj.kernel_size, self.proj.stride
        y, x_ = (at_least(stride * (n - 1) + k - m, 0) for n, m in zip(size, x.shape[2:], strict=True))
        x = F.pad(x, (x_ // 2, x_ - x_ // 2, y // 2, y - y // 2)) if exporting() or x_ or y else x
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


@register(
    paper="arXiv:2107.14467",
    year=2021,
    kind="deformable",
    channels="out",
    stride="stride",
    stands_for="Conv",
    tiny=(8, 12),
    licence="Apache-2.0",
)
class DePatch(nn.Module):
    """Deformable patch embedding: downsampling by patches whose position and size depend on the image.

    Every patch of a regular grid predicts a box. Points that are spread evenly over the box are sampled, and a linear
    layer of all of them is the patch's result. At the start the boxes lie on the regular grid.

    Args:
        c1: Number of channels of the input.
        c2: Number of channels of the result.
        stride: Stride between patches in pixels, and height and width of a patch.
        patch_size: Kernel of the convolution that predicts the boxes, stride by default; larger ones overlap.
        patch_pixel: Points per axis k; k * k points are sampled in a box, its edges included. One alone is its corner.
        wh_bias: Start of a learned bias of the boxes' size, None for no bias: tanh(wh_bias) patches is half a side.
        tanh: Whether tanh bounds the boxes' move to one patch.
        act: Activation in the prediction, "gelu" or "identity".
        hidden: Whether the prediction has a hidden layer, of c2 channels. Without it there is no activation.
        norm: Whether a LayerNorm follows the hidden layer and the result.
        code_weights: What the four predicted numbers are divided by, in the order x, y, height, width.
        reopen: Whether a box that has shrunk to nothing gets the gradient that would open it again, as if there were no
            relu. False is the official code's, where such a box stays closed.

    Shape:
        Input (B, c1, H, W), output (B, c2, ceil(H / stride), ceil(W / stride)), any H, W >= 1. Where stride does not
        divide H, the patches of a column still share H evenly; their predictions see zeros below the map.

    Raises:
        ValueError: If a size or number of channels is not a positive integer, wh_bias or a weight is no number, a
            weight is zero, act is unknown, or a switch is no boolean.

    References:
        Chen et al., ACM MM 2021, arXiv:2107.14467, section 3.2; the start of the boxes and the order of the points are
        those of the official code, so that its weights load. Differs: any height and width; boxes reopen (without it
        all of them closed for good in six epochs of SGD, and k * k times the same point was sampled).
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        stride: int = 2,
        patch_size: int | None = None,
        patch_pixel: int = 3,
        wh_bias: float | None = QUARTER,
        tanh: bool = True,
        act: str = "gelu",
        hidden: bool = True,
        norm: bool = True,
        code_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        reopen: bool = True,
    ) -> None:
        super().__init__()
        patch_size = stride if patch_size is None else patch_size
        positive(self, c1=c1, c2=c2, stride=stride, patch_size=patch_size, patch_pixel=patch_pixel)
        boolean(self, hidden=hidden, norm=norm)
        one_of(self, "act", act, ("gelu", "identity"))
        self.stride, self.patch_pixel = stride, patch_pixel
        self.patch_embed = PatchEmbed(c1, c2 if hidden else 4, patch_size, stride, norm and hidden)
        self.act = nn.GELU() if hidden and act == "gelu" else nn.Identity()
        self.offset_predictor = nn.Linear(c2, 4, bias=False) if hidden else nn.Identity()
        self.box_coder = PointWHCoder(code_weights, tanh, wh_bias, reopen)
        self.output_proj = nn.Linear(c1 * patch_pixel**2, c2)
        self.norm = nn.LayerNorm(c2) if norm else nn.Identity()
        for p in (self.offset_predictor if hidden else self.patch_embed.proj).parameters():
            nn.init.zeros_(p)  # the regular grid

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)[0]

    def embed(self, x: Tensor, size: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """The result with the boxes that were looked at.

        Args:
            x: Map (B, c1, H, W).
            size: Height h and width w of the result, H and W over stride rounded up by default.

        Returns:
            Result (B, c2, h, w), and boxes (B, h, w, 4) as (x1, y1, x2, y2) in the map, which is 0 to 1.
        """
        size = size or [(n + self.stride - 1) // self.stride for n in x.shape[2:]]
        boxes = self.box_coder(self._codes(x, size))
        at_x, at_y = spread(boxes, self.patch_pixel).flatten(1, 4)[:, :, None, None].unbind(-1)
        samples = Sampler(x)(at_y * x.shape[2] - 0.5, at_x * x.shape[3] - 0.5).to(x.dtype)  # b (h w kx ky) c
        samples = rearrange(samples, "b (h w p) c -> b h w (p c)", h=boxes.shape[1], w=boxes.shape[2])
        return as_layout(self.norm(self.output_proj(samples)).permute(0, 3, 1, 2), x), boxes

    def _codes(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Four numbers per patch (B, h, w, 4), in the parameters' own precision: they become coordinates."""
        with without_autocast(x):
            patches = self.patch_embed(x.to(self.patch_embed.proj.weight.dtype), size)
            return self.offset_predictor(self.act(patches))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for size in ("value_spatial_shapes", "value_level_start_index"):  # the official map's, fixed
            state_dict.pop(prefix + size, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _divisors(module: nn.Module, weights: Sequence[float], n: int) -> tuple[float, ...]:
    """What n codes are divided by, checked."""
    if not isinstance(weights, (list, tuple)) or len(weights) != n or not all(weights):
        raise ValueError(
            f"{type(module).__name__}: weights must be {n} numbers other than 0, got {weights!r}. Give {[1.0] * n}."
        )
    for weight in weights:
        number(module, weights=weight)
    return tuple(weights)
