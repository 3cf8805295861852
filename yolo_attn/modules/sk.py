"""Selective kernels (Li et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import divisible, number, positive
from ._norm import LenientSequential


@register(
    paper="arXiv:1903.06586",
    year=2019,
    kind="convolution",
    known_as=("SKAttention", "SKConv", "SKLayer", "SelectiveKernel"),
    tiny=(8, 3, None, 2, 2, 4),
    licence="MIT",
)
class SK(nn.Module):
    """Selective kernel convolution: each channel chooses softly between receptive fields by what the whole map shows.

    Args:
        dim: Number of channels C.
        paths: Number of convolutions to choose from, at most 64.
        dilations: Dilation of the 3x3 kernel of each path; 1, 2, ..., paths by default.
        num_groups: Groups of the convolutions.
        reduction: Ratio r; the hidden width of the choice is max(dim // r, min_width).
        min_width: Least hidden width, L in the paper.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If a number is not positive, num_groups doesn't divide dim, or there are not as many dilations as
            paths.

    References:
        Li et al., CVPR 2019, arXiv:1903.06586, eq. 1-6, fig. 1; a dilated 3x3 kernel stands for the 5x5 one, as there.
        Differs: 1x1 convolutions stand for the linear layers; convolutions and choice have biases, as in the
        implementation whose weights load; one image in training mode is normalised behind the pooling by the running
        statistics, where that implementation raises.
    """

    def __init__(
        self,
        dim: int,
        paths: int = 2,
        dilations: Sequence[int] | None = None,
        num_groups: int = 32,
        reduction: int = 16,
        min_width: int = 32,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, paths=paths, num_groups=num_groups, reduction=reduction, min_width=min_width)
        number(self, low=1, high=64, paths=paths)
        divisible(self, "dim", "num_groups", dim=dim, num_groups=num_groups)
        steps = range(1, paths + 1) if dilations is None else dilations
        if not isinstance(steps, Sequence) or len(steps) != paths:
            raise ValueError(
                f"SK: dilations must be a list of {paths} numbers, one for each of paths, got {dilations!r}. "
                f"Write {list(range(1, paths + 1))}, for example."
            )
        for step in steps:
            positive(self, dilations=step)
        hidden = max(dim // reduction, min_width)
        self.convs = nn.ModuleList(
            LenientSequential(
                nn.Conv2d(dim, dim, 3, padding=step, dilation=step, groups=num_groups), nn.BatchNorm2d(dim), nn.ReLU()
            )
            for step in steps
        )
        self.compress = LenientSequential(nn.Conv2d(dim, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU())
        self.projections = nn.ModuleList(nn.Conv2d(hidden, dim, 1) for _ in steps)

    def forward(self, x: Tensor) -> Tensor:
        maps = [conv(x) for conv in self.convs]
        return reduce(torch.add, (y * weight for y, weight in zip(maps, self.choice(maps).unbind(1), strict=True)))

    def choice(self, maps: Sequence[Tensor]) -> Tensor:
        """The shares (B, P, C, 1, 1) of the P paths' results (B, C, H, W)."""
        shown = self.compress(reduce(torch.add, maps).mean((2, 3), keepdim=True))  # B hidden 1 1
        return torch.stack([projection(shown) for projection in self.projections], 1).softmax(1)
