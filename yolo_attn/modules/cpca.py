"""Channel prior convolutional attention (Huang et al., Computers in Biology and Medicine 2024)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._precision import saturated


def _depthwise(dim: int, height: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(dim, dim, (height, width), padding=(height // 2, width // 2), groups=dim)


class ChannelGate(nn.Module):
    """A gate per channel: the sum of those from its mean and from its maximum, 0 to 2.

    Args:
        dim: Number of channels C.
        hidden: Width of the layer between the two.

    Shape:
        Input (B, C, H, W), output (B, C, 1, 1).
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return self.fc2(self.act(self.fc1(mean))).sigmoid() + self.fc2(self.act(self.fc1(most))).sigmoid()


@register(
    paper="arXiv:2306.05196",
    year=2024,
    kind="channel and spatial gate",
    known_as=(
        "CPCABlock",
        "CPCA_Attention",
        "ChannelPriorConvolutionalAttention",
        "CPCAttention",
    ),
    tiny=(8, 2),
)
class CPCA(nn.Module):
    """Channel prior convolutional attention: a channel gate, and after it a spatial one of depthwise strips to 21x21.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r of the channel gate; its hidden width is max(dim // r, 1).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not a positive integer.

    References:
        Huang et al., Computers in Biology and Medicine 178, 2024, arXiv:2306.05196, eq. 1-4. Differs: as in the
        official code, one 1x1 convolution serves three times, in front (with a GELU), for the mixing of channels in the
        spatial gate, and behind, where the equations have it in the gate alone; the sigmoids of mean and maximum are
        added, not what goes into one. Unlike there, float16 ends at its largest number, not at infinity.
    """

    def __init__(self, dim: int, reduction: int = 4) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        self.ca = ChannelGate(dim, max(dim // reduction, 1))
        self.dconv5_5 = _depthwise(dim, 5, 5)
        self.dconv1_7, self.dconv7_1 = _depthwise(dim, 1, 7), _depthwise(dim, 7, 1)
        self.dconv1_11, self.dconv11_1 = _depthwise(dim, 1, 11), _depthwise(dim, 11, 1)
        self.dconv1_21, self.dconv21_1 = _depthwise(dim, 1, 21), _depthwise(dim, 21, 1)
        self.conv = nn.Conv2d(dim, dim, 1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = x * self.ca(x)
        local = self.dconv5_5(x)
        seen = local + self.dconv7_1(self.dconv1_7(local))
        seen = seen + self.dconv11_1(self.dconv1_11(local)) + self.dconv21_1(self.dconv1_21(local))
        return saturated(self.conv(saturated(x * self.conv(seen))))
