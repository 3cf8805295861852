"""Context anchor attention of PKINet (Cai et al., CVPR 2024)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..registry import register
from ._checks import positive


def _conv(dim: int, height: int = 1, width: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(dim, dim, (height, width), padding=(height // 2, width // 2), groups=groups)
    return nn.Sequential(OrderedDict(conv=conv))  # published weights have this level


@register(
    paper="arXiv:2403.06258",
    year=2024,
    kind="channel and spatial gate",
    known_as=("ContextAnchorAttention", "CAA_Attention"),
    tiny=(8, 5, 3),
    licence="Apache-2.0",
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
        Cai et al., CVPR 2024, arXiv:2403.06258, section 3.3. Differs: the result is the gated input, where PKINet gates
        another branch's features; the strips are 11 long by default, where those of its l-th block are 11 + 2 l. As
        there, pooling counts the zeros around the map. The official class has BatchNorm and SiLU behind both 1x1
        convolutions unless told otherwise, and collections of modules copy that; PKINet itself and the equations have
        neither, nor has this one: with SiLU no gate could be below 0.43.
    """

    def __init__(self, dim: int, h_kernel_size: int = 11, v_kernel_size: int = 11) -> None:
        super().__init__()
        kernels = {"h_kernel_size": h_kernel_size, "v_kernel_size": v_kernel_size}
        positive(self, dim=dim, **kernels)
        for name, size in kernels.items():
            if size % 2 == 0:
                raise ValueError(f"CAA: {name} must be odd, got {size}. Choose {size - 1} or {size + 1}.")
        self.avg_pool = nn.AvgPool2d(7, 1, 3)
        self.conv1 = _conv(dim)
        self.h_conv = _conv(dim, 1, h_kernel_size, dim)
        self.v_conv = _conv(dim, v_kernel_size, 1, dim)
        self.conv2 = _conv(dim)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv2(self.v_conv(self.h_conv(self.conv1(self.avg_pool(x))))).sigmoid()
