"""A plain convolution block: the control that attention is compared with (He et al., CVPR 2016)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from ..registry import register
from ._checks import pair, positive
from ._norm import LenientSequential


def _conv(c1: int, c2: int, kernel_size: tuple[int, int] = (1, 1), stride: int = 1) -> LenientSequential:
    """Convolution, BatchNorm and SiLU, as Ultralytics' Conv."""
    height, width = kernel_size
    conv = nn.Conv2d(c1, c2, kernel_size, stride, (height // 2, width // 2), bias=False)
    return LenientSequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(c2), act=nn.SiLU()))


def _width(dim: int, hidden=None, kernel_size: int = 3, stride: int = 1, dim_out: int | None = None) -> int:
    """Channels of the result."""
    return dim if dim_out is None else dim_out


@register(
    paper="arXiv:1512.03385",
    year=2016,
    kind="convolution",
    channels=_width,
    stride="stride",
    stands_for="*",
    tiny=(8, (4, 6), (3, 5), 2, 12),
)
class PlainConv(nn.Module):
    """A bottleneck of plain convolutions, 1x1, k x k, 1x1: of any size, the control that attention is compared with.

    Args:
        dim: Number of channels C.
        hidden: Channels in the middle, h1 and h2 or one number for both; C / 2 by default. Unlike the widths of stock
            rows they are not scaled with the model.
        kernel_size: Height and width of the kernel in the middle, odd; one number for both.
        stride: Step of the convolution in the middle, in pixels.
        dim_out: Number of channels of the result, C by default; not scaled either.

    Shape:
        Input (B, C, H, W), any H, W >= 1; output (B, dim_out, ceil(H / stride), ceil(W / stride)).

    Raises:
        ValueError: If a number is not a positive integer, hidden holds not one or two, or a kernel is even.

    References:
        He et al., CVPR 2016, arXiv:1512.03385, fig. 5 right. Differs: BatchNorm and SiLU behind the first two
        convolutions, as in YOLOv8, and a bias, no BatchNorm, behind the last; no shortcut, which Residual gives.
    """

    def __init__(
        self,
        dim: int,
        hidden: int | Sequence[int] | None = None,
        kernel_size: int | Sequence[int] = 3,
        stride: int = 1,
        dim_out: int | None = None,
    ) -> None:
        super().__init__()
        dim_out = dim if dim_out is None else dim_out
        positive(self, dim=dim, stride=stride, dim_out=dim_out)
        kernel = pair(self, kernel_size=kernel_size)
        hidden = max(dim // 2, 1) if hidden is None else hidden
        widths = [*hidden] if isinstance(hidden, Sequence) else [hidden, hidden]
        if len(widths) != 2:
            raise ValueError(f"PlainConv: hidden must be one width or two, got {hidden!r}. Give a number, or [h1, h2].")
        for width in widths:
            positive(self, hidden=width)
        if not all(side % 2 for side in kernel):
            raise ValueError(f"PlainConv: kernel_size must be odd, got {kernel_size!r}. Choose one more or less.")
        h1, h2 = widths
        # No stock layer has parameters of these names, so none are taken over from one in whose place this block is.
        self.reduce = _conv(dim, h1)
        self.spatial = _conv(h1, h2, kernel, stride)
        self.expand = nn.Conv2d(h2, dim_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(self.spatial(self.reduce(x)))
