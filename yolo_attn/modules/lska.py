"""Large separable kernel attention (Lau et al., Expert Systems with Applications 2024)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._precision import saturated

DILATION = {7: 2, 11: 2, 23: 3, 35: 3, 41: 3, 53: 3, 65: 3}  # by the kernel that is taken apart


@register(
    paper="arXiv:2309.01439",
    year=2024,
    kind="channel and spatial gate",
    known_as=("LSKAttn", "LSKA_Attention", "LargeSeparableKernelAttention"),
    tiny=(8, 7),
)
class LSKA(nn.Module):
    """Large separable kernel attention: a gate per channel and pixel from a large depthwise kernel made of strips.

    Args:
        dim: Number of channels C.
        kernel_size: Side k of the kernel that the four strips stand for: 7, 11, 23, 35, 41, 53 or 65. With a dilation d
            of 2 up to 11, else 3, they are two of 2 d - 1 pixels and two of k // d pixels that lie d apart.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer, or kernel_size none of these.

    References:
        Lau et al., Expert Systems with Applications 236, 2024, arXiv:2309.01439, section 3. Differs: kernel 65, which
        the official code lacks, follows the rule of the others; float16 ends at its largest number, not at infinity.
        The default is the kernel nearest to that of large kernel attention, 21.
    """

    def __init__(self, dim: int, kernel_size: int = 23) -> None:
        super().__init__()
        positive(self, dim=dim, kernel_size=kernel_size)
        if kernel_size not in DILATION:
            sizes = ", ".join(map(str, DILATION))
            raise ValueError(f"LSKA: kernel_size must be one of {sizes}, got {kernel_size}. Choose one of these.")
        d = DILATION[kernel_size]
        near, far = 2 * d - 1, kernel_size // d
        pad = far // 2 * d
        self.conv0h = nn.Conv2d(dim, dim, (1, near), padding=(0, near // 2), groups=dim)
        self.conv0v = nn.Conv2d(dim, dim, (near, 1), padding=(near // 2, 0), groups=dim)
        self.conv_spatial_h = nn.Conv2d(dim, dim, (1, far), padding=(0, pad), dilation=d, groups=dim)
        self.conv_spatial_v = nn.Conv2d(dim, dim, (far, 1), padding=(pad, 0), dilation=d, groups=dim)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        strips = self.conv_spatial_v(self.conv_spatial_h(self.conv0v(self.conv0h(x))))
        return saturated(x * self.conv1(strips))
