"""The cross-scale embedding layer (CrossFormer: Wang et al., ICLR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import one_of, positive
from ._export import exporting
from ._layout import as_layout
from ._norm import LenientSequential

NORMS = ("bn", "ln", "pre_ln", "none")


class MapLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return as_layout(super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), x)


@register(
    paper="arXiv:2108.00154",
    year=2022,
    kind="convolution",
    channels="out",
    stride="stride",
    tiny=(8, 16),
    stands_for="Conv",
    licence="MIT",
)
class CrossScaleEmbed(nn.Module):
    """Cross-scale embedding (CEL): convolutions of several kernel sizes and one stride, side by side.

    Args:
        c1: Number of input channels.
        c2: Number of output channels: half of them from the first kernel, a quarter from the second and so on; the last
            two kernels give equally many.
        kernel_sizes: The kernels: stride, or an even number more, so that all are centred on the same pixels. The
            paper's are 4, 8, 16, 32 for an image and 2, 4 between stages.
        stride: Stride, the same for all.
        norm: "bn": BatchNorm and SiLU behind, as in Ultralytics' Conv, whose place this takes. "ln": LayerNorm behind,
            as in the paper's stem. "pre_ln": LayerNorm in front, as between the paper's stages. "none": none. Only
            with "bn" do the convolutions have no bias.

    Shape:
        Input (B, c1, H, W), any H, W >= 1; output (B, c2, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: If an argument has no meaning, a kernel is not stride or an even number more, or c2 can't be halved
            as often as there are further kernels.

    References:
        Wang et al., ICLR 2022, arXiv:2108.00154, section 3.1, table 1. Differs: by default "bn", which the paper does
        not have: a convolutional detector has normalised, activated maps there, and no LayerNorm follows. A map that
        stride doesn't divide is filled up with zeros at the bottom and right.
    """

    def __init__(
        self, c1: int, c2: int, kernel_sizes: Sequence[int] = (2, 4), stride: int = 2, norm: str = "bn"
    ) -> None:
        super().__init__()
        positive(self, c1=c1, c2=c2, stride=stride)
        one_of(self, "norm", norm, NORMS)
        kernels = list(kernel_sizes) if isinstance(kernel_sizes, Sequence) else []
        if not kernels or any(type(k) is not int or k < stride or (k - stride) % 2 for k in kernels):
            raise ValueError(
                f"CrossScaleEmbed: kernel_sizes must be stride or an even number more, got {kernel_sizes!r} with "
                f"stride {stride}. Choose from {', '.join(str(stride + 2 * i) for i in range(4))} and so on."
            )
        parts = 2 ** (len(kernels) - 1)
        if c2 % parts:
            raise ValueError(
                f"CrossScaleEmbed: c2 must be a multiple of {parts} for {len(kernels)} kernels, got {c2}. "
                f"Choose {max(c2 // parts, 1) * parts}."
            )
        self.stride, self.norm_first = stride, norm == "pre_ln"
        widths = [max(c2 >> (i + 1), c2 // parts) for i in range(len(kernels))]
        self.projs = nn.ModuleList(
            nn.Conv2d(c1, width, k, stride, (k - stride) // 2, bias=norm != "bn")
            for k, width in zip(kernels, widths, strict=True)
        )
        self.norm = {
            "bn": lambda: LenientSequential(nn.BatchNorm2d(c2), nn.SiLU()),
            "ln": lambda: MapLayerNorm(c2),
            "pre_ln": lambda: MapLayerNorm(c1),
            "none": nn.Identity,
        }[norm]()

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = self.norm(x)
        below, right = (-n % self.stride for n in x.shape[2:])
        if exporting() or below or right:
            x = F.pad(x, (0, right, 0, below))
        x = torch.cat([proj(x) for proj in self.projs], 1)
        return x if self.norm_first else self.norm(x)
