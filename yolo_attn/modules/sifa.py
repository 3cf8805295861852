"""Stand-alone inter-frame attention (SIFA: Long et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..registry import register
from ._blocks import recomputed
from ._checks import number, positive
from ._clips import ClipModule
from ._layout import as_layout
from ._sampling import Sampler, window_points
from .dat import LayerScale

Pair = int | Sequence[int]


def deformable_correlation(
    frames: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Product of each pixel with a deformed window around it in the next frame; the first frame's is with itself.

    Args:
        frames: Clips (B, C, T, H, W).
        offset: Displacements (B, 2 K K, T, H, W) of the window's points in pixels, y and x of each in turn.
        weight: Factors (C, T or 1, K, K) of the products, summed over channels.
        stride: Pixels of the next frame per pixel; the result keeps H x W.
        padding: How far the undeformed window begins above and left of its pixel.
        dilation: Distance between the window's points.
        groups: Groups of channels, each with sums of its own.

    Returns:
        Products (B, groups K K, T, H, W), in float32 at least.
    """
    c, _, *kernel = weight.shape
    clip = frames.shape[2]
    before = _flat(torch.cat([frames[:, :, :1], frames[:, :, :-1]], 2))
    factors = rearrange(weight.expand(c, clip, *kernel), "c t kh kw -> t (kh kw) c").repeat(len(frames), 1, 1)
    window = Window(_flat(frames), _flat(offset), kernel, stride, padding, dilation)
    before = _places(before)

    def product(tap: int) -> Tensor:
        return _correlate(window(tap), before, factors[:, tap], groups)

    products = torch.stack([recomputed(product, tap) for tap in range(window.taps)], -1)
    return rearrange(products, "(b t) (h w) g k -> b (g k) t h w", t=clip, h=frames.shape[3])


def deformable_aggregation(
    frames: Tensor,
    offset: Tensor,
    weight: Tensor,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Weighted sum of a deformed window around each pixel of the same frame.

    Args:
        frames, offset, stride, padding, dilation: As for `deformable_correlation`.
        weight: Weights (B, groups K K, T, H, W) of the window's points.
        kernel_size: Height and width of the window, or one number K.
        groups: Sets of weights; each gives all C channels.

    Returns:
        Sums (B, groups C, T, H, W), in float32 at least.
    """
    window = Window(_flat(frames), _flat(offset), _pair(kernel_size), stride, padding, dilation)
    weights = rearrange(weight, "b (g k) t h w -> k (b t) (h w) g 1", g=groups)

    def part(tap: int) -> Tensor:
        return window(tap).unsqueeze(2) * weights[tap]

    total = reduce(torch.add, (recomputed(part, tap) for tap in range(window.taps)))
    return rearrange(total, "(b t) (h w) g c -> b (g c) t h w", t=frames.shape[2], h=frames.shape[3])


class Correlation(nn.Module):
    """The correlation's weight: 1 / C for all T frames and points of the window, a constant (C, T, K, K).

    A buffer: Ultralytics makes every frozen parameter a trained one.
    """

    weight: Tensor

    def __init__(self, dim: int, num_frames: int, kernel_size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((dim, num_frames, kernel_size, kernel_size), 1 / dim))

    def forward(self, time: Tensor) -> Tensor:
        """The weight (N, K K, C) of frames with these numbers in their clips (N)."""
        weight = self.weight[:, time.clamp(max=self.weight.shape[1] - 1)]
        return rearrange(weight, "c n kh kw -> n (kh kw) c")


@register(paper="arXiv:2206.06931", year=2022, kind="deformable", identity=True, licence="none")
class SIFA(ClipModule):
    """Stand-alone inter-frame attention: each pixel also gathers what is near it in the next frame of its video.

    Only inside `yolo_attn.clips`, which `yolo predict` and `yolo track` enter on videos. Outside, images pass through
    unchanged, in training too, and the last frame of a clip always does.

    Args:
        dim: Number of channels C.
        num_frames: Frames T for which a checkpoint holds the correlation's constant weight; T in official weights.
            Clips may have any length.
        kernel_size: Height and width K of the window.
        dilation: Distance between the window's points.
        layer_scale: First value of a learned factor per channel on what is gathered; None for no factor, as in the
            paper.

    Shape:
        Input and output (N, C, H, W), any H, W >= 1; N is the frames of one clip or several, one after another.

    Raises:
        ValueError: If dim, num_frames, kernel_size or dilation is not a positive integer, or layer_scale no number.

    References:
        Long et al., CVPR 2022, arXiv:2206.06931, as its official code computes it: correlations weigh without a
        softmax, and what is gathered from a frame is added to the one before. Differs: each frame's predecessor really
        is that; the official in-place shift overwrites what it reads. No groups of channels. What is gathered is at
        most half of what the type of x holds. layer_scale is ours: at full strength an untrained layer costs a
        pretrained detector boxes.
    """

    no_gradient = ("conv_offset", "scale")  # from single images

    def __init__(
        self,
        dim: int,
        num_frames: int = 1,
        kernel_size: int = 3,
        dilation: int = 1,
        layer_scale: float | None = 0.1,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, num_frames=num_frames, kernel_size=kernel_size, dilation=dilation)
        if layer_scale is not None:
            number(self, layer_scale=layer_scale)
        self.kernel_size, self.dilation = kernel_size, dilation
        self.conv_offset = nn.Conv2d(dim, 2 * kernel_size**2, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv_offset.weight)
        self.def_cor = Correlation(dim, num_frames, kernel_size)
        self.scale = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        pairs = self.neighbours(x)
        if pairs is None:
            return x
        later, earlier, time = pairs
        frame, before = x[later], x[earlier]
        window = self._window(frame, before)
        factors, before = self.def_cor(time), _places(before)

        def part(tap: int) -> Tensor:
            samples = window(tap)
            return samples * _correlate(samples, before, factors[:, tap])

        if window.in_bags and bool((factors == factors[:, :1]).all()):  # as in all published weights
            total = window.sums(window.products(before * factors[:, :1]))
        else:
            total = reduce(torch.add, (recomputed(part, tap) for tap in range(window.taps)))
        gathered = self.scale(rearrange(total, "n (h w) c -> n c h w", h=x.shape[2]))
        limit = torch.finfo(x.dtype).max / 2  # grows with the cube of x, in half precision to infinity from 40 or so
        return as_layout(x.index_add(0, earlier, gathered.clamp(-limit, limit).to(x.dtype)), x)

    def _window(self, frame: Tensor, before: Tensor) -> Window:
        """The windows in a frame (N, C, H, W) of the pixels of the one before."""
        gate = (frame - before).sigmoid() * frame + frame
        padding = (self.dilation * (self.kernel_size - 1) + 1) // 2
        return Window(frame, self.conv_offset(gate), _pair(self.kernel_size), 1, padding, self.dilation)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Official weights are those of a 1 x 3 x 3 convolution, while Ultralytics lays out models with 2-d ones only,
        and of a layer at full strength."""
        key = f"{prefix}conv_offset.weight"
        if key in state_dict and state_dict[key].ndim == 5:
            state_dict[key] = state_dict[key].squeeze(2)
            for name, factor in self.scale.named_parameters(f"{prefix}scale"):
                state_dict.setdefault(name, torch.ones_like(factor))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Window:
    """The deformed windows of all pixels of frames (N, C, H, W), one tap at a time: all of them are K K times the
    frames."""

    def __init__(
        self,
        frames: Tensor,
        offset: Tensor,
        kernel_size: Sequence[int],
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> None:
        self.taps = kernel_size[0] * kernel_size[1]
        if offset.shape[1] != 2 * self.taps:
            raise ValueError(
                f"SIFA: offset must have {2 * self.taps} channels, y and x for each point of the window, got "
                f"{offset.shape[1]}."
            )
        y, x = window_points(offset, kernel_size, *map(_pair, (stride, padding, dilation)))
        self.y, self.x = (rearrange(each, "n k h w -> n (h w) 1 k").contiguous() for each in (y, x))
        self.sampler = Sampler(frames)
        self.in_bags = self.sampler.pixels is not None

    def __call__(self, tap: int) -> Tensor:
        """Samples (N, H W, C), in float32 at least."""
        return self.sampler(self.y[..., tap : tap + 1], self.x[..., tap : tap + 1])

    def products(self, vectors: Tensor) -> Tensor:
        """Scalar products (N, H W, 1, K K) of vectors (N, H W, C) with the samples of all taps; in bags only."""
        return self.sampler.products(self.y, self.x, vectors)

    def sums(self, weights: Tensor) -> Tensor:
        """Sums (N, H W, C) over the samples of all taps with weights (N, H W, 1, K K)."""
        return self.sampler(self.y, self.x, weights)


def _correlate(samples: Tensor, before: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """Sums (N, H W, groups) over channels of samples (N, H W, C) times pixels (N, H W, C) and weights (N, C)."""
    products = samples * (before * weight.unsqueeze(1))
    return products.unflatten(2, (groups, -1)).sum(3)


def _places(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) as (N, H W, C)."""
    return rearrange(maps, "n c h w -> n (h w) c").contiguous()


def _flat(clips: Tensor) -> Tensor:
    """Clips (B, C, T, H, W) as frames (B T, C, H, W)."""
    return rearrange(clips, "b c t h w -> (b t) c h w")


def _pair(size: Pair) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
