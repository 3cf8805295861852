"""Context anchor attention of PKINet (Cai et al., CVPR 2024)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import LenientSequential


def _mix(dim: int) -> LenientSequential:
    conv, norm = nn.Conv2d(dim, dim, 1, bias=False), nn.BatchNorm2d(dim, eps=1e-3, momentum=0.03)
    return LenientSequential(OrderedDict(conv=conv, bn=norm, activate=nn.SiLU()))


def _strip(dim: int, height: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(dim, dim, (height, width), padding=(height // 2, width // 2), groups=dim)
    return nn.Sequential(OrderedDict(conv=conv))


@register(
    paper="arXiv:2403.06258",
    year=2024,
    kind="channel and spatial gate",
    known_as=("ContextAnchorAttention", "CAA_Attention"),
    tiny=(8, 5, 3),
)
class CAA(nn.Module):
    """Context anchor attention: a gate per channel and pixel from 7x7 means, through long crossed strips.

    Args:
        dim: Number of channels C.
        h_kernel_size: Width of the horizontal strip in pixels, odd.
        v_kernel_size: Height of the vertical strip in pixels, odd.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not a positive integer, or a kernel is even.

    References:
        Cai et al., CVPR 2024, arXiv:2403.06258, section 3.3. Differs: the result is the gated input, where the official
        class returns the gate. As there, pooling counts the zeros around the map, BatchNorm and SiLU follow both 1x1
        convolutions, so that the gate is above 0.43, and the strips are 11 long in every block, not 11 + 2 l.
    """

    def __init__(self, dim: int, h_kernel_size: int = 11, v_kernel_size: int = 11) -> None:
        super().__init__()
        kernels = {"h_kernel_size": h_kernel_size, "v_kernel_size": v_kernel_size}
        positive(self, dim=dim, **kernels)
        for name, size in kernels.items():
            if size % 2 == 0:
                raise ValueError(f"CAA: {name} must be odd, got {size}. Choose {size - 1} or {size + 1}.")
        self.avg_pool = nn.AvgPool2d(7, 1, 3)
        self.conv1 = _mix(dim)
        self.h_conv = _strip(dim, 1, h_kernel_size)
        self.v_conv = _strip(dim, v_kernel_size, 1)
        self.conv2 = _mix(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv2(self.v_conv(self.h_conv(self.conv1(self.avg_pool(x))))).sigmoid()
