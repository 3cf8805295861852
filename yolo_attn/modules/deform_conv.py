"""Deformable convolution, versions 1 and 2 (Dai et al., ICCV 2017; Zhu et al., CVPR 2019)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import boolean, divisible, number, positive
from ._layout import as_layout
from ._norm import LenientSequential, batch_norm
from ._sampling import at_least_float32, gathers, sample_windows

PAPER = "arXiv:1811.11168"


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """A convolution whose taps are moved by offsets and weighted by a mask, in float32 at least.

    Args:
        x: Maps (B, C1, H, W); outside the map is zero.
        offset: Moves in pixels (B, 2 g K, h, w): for each of g groups of channels and K taps of the kernel y, then x.
        weight: Kernels (C2, C1 / groups, kh, kw), K = kh kw.
        bias: Added to the result, (C2,).
        mask: Factor of each tap (B, g K, h, w); None for version 1.
        stride, padding, dilation: Those of a convolution, one number or two.

    Returns:
        Maps (B, C2, h, w) in the type of x.
    """
    wide = at_least_float32(x)
    offset = offset.masked_fill(
        offset.isnan(), 0
    )  # the operator reads memory at random where a tap is at NaN: it crashes
    moves, kernels = offset.to(wide.dtype), weight.to(wide.dtype)
    constant, factor = (t if t is None else t.to(wide.dtype) for t in (bias, mask))
    window = [(n, n) if isinstance(n, int) else n for n in (stride, padding, dilation)]
    if gathers(x) or torch.onnx.is_in_onnx_export():  # ONNX has the operation from opset 19 on, PyTorch's exporter not
        return _from_samples(wide, moves, kernels, constant, factor, *window).to(x.dtype)
    return _operator()(wide, moves, kernels, constant, *window, factor).to(x.dtype)


def _operator() -> Callable[..., Tensor]:
    """torchvision's; its import costs a second, which only models with such a layer are to pay."""
    from torchvision import ops

    return ops.deform_conv2d


def _from_samples(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, *window: Sequence[int]
) -> Tensor:
    """The same from bilinear samples of all taps, (B, C1 K, h, w) in memory."""
    taps = weight.shape[2] * weight.shape[3]
    groups = offset.shape[1] // (2 * taps)
    by_group = rearrange(x, "b (g c) h w -> (b g) c h w", g=groups)
    moves = rearrange(offset, "b (g k) h w -> (b g) k h w", g=groups)
    samples = sample_windows(by_group, moves, weight.shape[2:], *window)
    if mask is not None:
        samples = samples * rearrange(mask, "b (g k) h w -> (b g) 1 k h w", g=groups)
    columns = rearrange(samples, "(b g) c k h w -> b (g c k) h w", g=groups)
    return F.conv2d(columns, weight.flatten(1)[..., None, None], bias, groups=x.shape[1] // weight.shape[1])


@register(
    paper=PAPER,
    year=2019,
    kind="deformable",
    known_as=("DCN", "DCNv2", "DeformConv2d", "DeformableConv2d"),
    channels="out",
    stride="stride",
    stands_for="Conv",
    tiny=(4, 6, 3, 2, None, 2, 1, True, 2),
    licence="MIT",
)
class DeformConv(nn.Module):
    """Deformable convolution, BatchNorm and SiLU: a Conv whose kernel takes the shape that each place asks for.

    It stands in the place of Ultralytics' Conv: arguments (but for the default kernel, which is 1 there), size and
    parameter names are the same, and with the weights of a trained Conv it computes at first what that Conv did.

    Args:
        c1: Number of input channels.
        c2: Number of output channels.
        kernel_size: Height and width of the kernel.
        stride: Step between results, in pixels.
        padding: Zeros around the map; None for half the kernel, with which an odd kernel at stride 1 keeps the size.
        num_groups: Groups of the convolution.
        dilation: Step between the taps, in pixels.
        act: Whether a SiLU follows.
        offset_groups: Groups of input channels, each of which moves its taps by itself.
        modulated: Whether each tap also has a learned factor from 0 to 2 (version 2), or offsets only (version 1).

    Shape:
        Input (B, c1, H, W), any H, W >= 1; output (B, c2, h, w) as Conv gives it: ceil(H / stride) for an odd kernel
        and padding None.

    Raises:
        ValueError: If a number is not a positive integer (padding may be 0), or groups don't divide the channels.

    References:
        Dai et al., ICCV 2017, arXiv:1703.06211, eq. 2-3, fig. 2 (version 1); Zhu et al., CVPR 2019, arXiv:1811.11168,
        eq. 1 (version 2). Differs: the factor of a tap is 2 sigmoid and not sigmoid, so that it starts at 1 and the
        layer as a plain convolution; offsets learn with the same learning rate as everything else, not a tenth of it.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        num_groups: int = 1,
        dilation: int = 1,
        act: bool = True,
        offset_groups: int = 1,
        modulated: bool = True,
    ) -> None:
        super().__init__()
        positive(self, c1=c1, c2=c2, kernel_size=kernel_size, stride=stride, dilation=dilation)
        positive(self, num_groups=num_groups, offset_groups=offset_groups)
        divisible(self, "c1", "num_groups", c1=c1, num_groups=num_groups)
        divisible(self, "c2", "num_groups", c2=c2, num_groups=num_groups)
        divisible(self, "c1", "offset_groups", c1=c1, offset_groups=offset_groups)
        boolean(self, act=act, modulated=modulated)
        if padding is None:
            padding = (dilation * (kernel_size - 1) + 1) // 2
        elif padding != 0:
            positive(self, padding=padding)
        self.modulated, self.window = modulated, (stride, padding, dilation)
        self.conv = nn.Conv2d(c1, c2, kernel_size, *self.window, groups=num_groups, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU() if act else nn.Identity()
        taps = offset_groups * kernel_size**2
        self.conv_offset = nn.Conv2d(c1, (3 if modulated else 2) * taps, kernel_size, *self.window)
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)
        _operator()  # the first import fails while torch.jit.trace runs

    def forward(self, x: Tensor) -> Tensor:
        offset, mask = self.offsets(x)
        y = deform_conv2d(x, offset, self.conv.weight, None, mask, *self.window)
        return self.act(batch_norm(self.bn, as_layout(y, x)))

    def offsets(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where the taps go: offset (B, 2 g K, h, w) and mask (B, g K, h, w), as deform_conv2d takes them."""
        moves = at_least_float32(self.conv_offset(x))
        if not self.modulated:
            return moves, None
        offset, mask = moves.split([moves.shape[1] // 3 * 2, moves.shape[1] // 3], 1)
        return offset, 2 * mask.sigmoid()


def _conv(c1: int, c2: int, kernel_size: int = 1) -> LenientSequential:
    """Convolution, BatchNorm and SiLU, named as in Ultralytics' Conv."""
    conv = nn.Conv2d(c1, c2, kernel_size, padding=kernel_size // 2, bias=False)
    return LenientSequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(c2), act=nn.SiLU()))


class DeformBottleneck(nn.Module):
    """A 3x3 convolution and a deformable one on a map (B, C, H, W), with or without a shortcut around both.

    Args:
        dim: Number of channels C.
        shortcut: Whether the input is added to the result.
        num_groups, offset_groups, modulated: Those of the DeformConv.
    """

    def __init__(self, dim: int, shortcut: bool, num_groups: int, offset_groups: int, modulated: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.cv1 = _conv(dim, dim, 3)
        self.cv2 = DeformConv(dim, dim, num_groups=num_groups, offset_groups=offset_groups, modulated=modulated)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


@register(
    paper=PAPER,
    year=2019,
    kind="deformable",
    channels="out",
    repeats=True,
    stands_for="C2f",
    tiny=(4, 8, 2, True),
    licence="MIT",
)
class C2fDCN(nn.Module):
    """C2f, the stage of YOLOv8, with a deformable convolution as the second 3x3 of each bottleneck.

    It stands in the place of Ultralytics' C2f: arguments and parameter names are the same, and with the weights of a
    trained C2f it computes at first what that C2f did.

    Args:
        c1: Number of input channels.
        c2: Number of output channels.
        n: Number of bottlenecks, the repeats of the row.
        shortcut: Whether each bottleneck has a shortcut.
        num_groups: Groups of the deformable convolutions.
        expansion: Width of a bottleneck over c2.
        offset_groups: Groups of a bottleneck's channels, each of which moves its taps by itself.
        modulated: Version 2 of deformable convolution, or version 1: see DeformConv.

    Shape:
        Input (B, c1, H, W), output (B, c2, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not positive, bottlenecks would have no channel, or groups don't divide theirs.

    References:
        Zhu et al., CVPR 2019, arXiv:1811.11168, sec. 3.1: deformable layers in the 3x3 places of the last stages; C2f
        is that of YOLOv8. Differs: the first 3x3 of a bottleneck, which ResNet doesn't have, stays as it is; see
        DeformConv for the rest.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = False,
        num_groups: int = 1,
        expansion: float = 0.5,
        offset_groups: int = 1,
        modulated: bool = True,
    ) -> None:
        super().__init__()
        positive(self, c1=c1, c2=c2, n=n)
        boolean(self, shortcut=shortcut)
        number(self, low=1 / c2, expansion=expansion)
        dim = int(c2 * expansion)
        self.cv1 = _conv(c1, 2 * dim)
        self.cv2 = _conv((2 + n) * dim, c2)
        self.m = nn.ModuleList(DeformBottleneck(dim, shortcut, num_groups, offset_groups, modulated) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        parts = [*self.cv1(x).chunk(2, 1)]
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        return self.cv2(torch.cat(parts, 1))
