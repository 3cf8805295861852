"""SimAM: a simple, parameter-free attention module (Yang et al., ICML 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from ._checks import number, positive
from ._sampling import at_least_float32

TINY = 1e-18  # nothing beside e_lambda, but a divisor where there is one pixel; its square has an inverse in float32


@register(
    paper="ICML 2021, PMLR 139",
    year=2021,
    kind="channel and spatial gate",
    known_as=("SimAM_Module", "SimAMLayer", "SimAMAttention", "SimAM_Attention", "SimAMBlock"),
    licence="none",
)
class SimAM(nn.Module):
    """SimAM: without parameters, a pixel counts more the further it is from the mean of its channel's map.

    Args:
        dim: Number of channels C, which nothing depends on.
        e_lambda: Added to the variance of a map, lambda in the paper.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not a positive integer, or e_lambda no number from 1e-10 to 1.

    References:
        Yang et al., ICML 2021, PMLR 139, eq. 5-6 and fig. 3. Differs: the variance is divided by H W - 1 as in the
        official code, where eq. 5 says H W; the gate of a map of one pixel is sigmoid(1/2), where that code gives NaN;
        float32 at least.
    """

    def __init__(self, dim: int, e_lambda: float = 1e-4) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=1e-10, high=1, e_lambda=e_lambda)
        self.e_lambda = e_lambda

    def extra_repr(self) -> str:
        return f"e_lambda={self.e_lambda}"

    def forward(self, x: Tensor) -> Tensor:
        wide = at_least_float32(x)
        square = (wide - wide.mean((2, 3), keepdim=True)).square()  # (t - mu)^2
        others = x.shape[2] * x.shape[3] - 1
        variance = square.sum((2, 3), keepdim=True)  # times others, as lambda
        factor = others / (4 * (variance + self.e_lambda * others) + TINY)
        return x * (square * factor + 0.5).sigmoid().to(x.dtype)
