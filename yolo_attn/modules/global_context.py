"""Global context block (Cao et al., ICCV workshops 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._attention import pooled
from ._checks import one_of, positive

NARROWEST = 4  # hidden channels: LayerNorm makes one channel a constant, and of two it leaves which is larger


def _transform(dim: int, hidden: int) -> nn.Sequential:
    """The paper's transform, a bottleneck, zero at its start."""
    layers = nn.Sequential(
        nn.Conv2d(dim, hidden, 1), nn.LayerNorm([hidden, 1, 1]), nn.ReLU(), nn.Conv2d(hidden, dim, 1)
    )
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
    return layers


@register(
    paper="arXiv:1904.11492",
    year=2019,
    kind="channel gate",
    known_as=(
        "GC",
        "GCA",
        "ContextBlock",
        "GCBlock",
        "GCModule",
        "GCNet",
        "GlobalContextBlock",
        "GlobalContextAttention",
    ),
    tiny=(8, 2),
    identity=True,
    licence="Apache-2.0",
)
class GlobalContext(nn.Module):
    """Global context: one vector per image, pooled by attention over the pixels and transformed, joins every pixel.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 4).
        fusion: "add": the vector is added, as in the paper, and the block starts as the identity. "scale": its sigmoid
            gates the channels. "both": first one vector scales, then another is added.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive, or the fusion is unknown.

    References:
        Cao et al., ICCV workshops 2019, arXiv:1904.11492 (GCNet), the GC block. Differs: the layer of attention
        logits has no bias, which the softmax would cancel, as in the paper and other than in the official code; softmax
        and pooling are in float32 at least; the hidden width is at least 4.
    """

    def __init__(self, dim: int, reduction: int = 16, fusion: str = "add") -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        one_of(self, "fusion", fusion, ("add", "scale", "both"))
        hidden = max(dim // reduction, NARROWEST)
        self.conv_mask = nn.Conv2d(dim, 1, 1, bias=False)
        nn.init.kaiming_normal_(self.conv_mask.weight)
        self.channel_mul_conv = None if fusion == "add" else _transform(dim, hidden)
        self.channel_add_conv = None if fusion == "scale" else _transform(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        context = self.context(x)
        if self.channel_mul_conv is not None:
            x = x * self.channel_mul_conv(context).sigmoid()
        if self.channel_add_conv is not None:
            x = x + self.channel_add_conv(context)
        return x

    def context(self, x: Tensor) -> Tensor:
        """The vectors (B, C, 1, 1) of the images."""
        return pooled(x.flatten(2), self.conv_mask(x).flatten(2)).unsqueeze(-1)
