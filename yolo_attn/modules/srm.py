"""Style-based Recalibration Module (Lee et al., ICCV 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import positive
from ._norm import batch_norm
from ._sampling import at_least_float32


@register(
    paper="arXiv:1903.10829",
    year=2019,
    kind="channel gate",
    known_as=("SRMLayer", "SRMAttention", "StyleRecalibration"),
)
class SRM(nn.Module):
    """Style-based recalibration: a gate per channel from the mean and standard deviation of its own map.

    Args:
        dim: Number of channels C.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim is not positive.

    References:
        Lee et al., ICCV 2019, arXiv:1903.10829, section 3. Differs: the deviation divides by H W, as in the paper,
        where the official code divides by H W - 1 and gives NaN for one pixel; 1e-5 is added under its square root;
        one image in training mode is normalised by the running statistics.
    """

    no_weight_decay = ("cfc",)
    eps = 1e-5

    def __init__(self, dim: int) -> None:
        super().__init__()
        positive(self, dim=dim)
        self.cfc = nn.Parameter(torch.zeros(dim, 2))
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(at_least_float32(x), (2, 3), correction=0)  # each B C
        style = mean * self.cfc[:, 0] + (var + self.eps).sqrt() * self.cfc[:, 1]
        return x * batch_norm(self.bn, style[:, :, None, None].to(x.dtype)).sigmoid()
