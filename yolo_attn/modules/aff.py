"""Attentional Feature Fusion: DAF, MS_CAM, AFF and iAFF (Dai et al., WACV 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, positive, same_size
from ._norm import LenientSequential

PAPER = "arXiv:2009.14082"


def _context(dim: int, hidden: int, pooled: bool) -> LenientSequential:
    """Channel context of eq. 1 (local, per pixel) or, behind a global average pooling, of its global twin."""
    return LenientSequential(
        *([nn.AdaptiveAvgPool2d(1)] if pooled else []),
        nn.Conv2d(dim, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, dim, 1),
        nn.BatchNorm2d(dim),
    )


def _hidden(module: nn.Module, dim: int, reduction: int) -> int:
    positive(module, dim=dim, reduction=reduction)
    return max(dim // reduction, 1)


class _Fusion(nn.Module):
    """Two inputs, brought to one width: what DAF, AFF and iAFF share."""

    def __init__(self, dim: int, in_channels: Sequence[int] | None) -> None:
        super().__init__()
        positive(self, dim=dim)
        widths = [dim, dim] if in_channels is None else list(in_channels)
        if len(widths) != 2:
            raise ValueError(
                f"{type(self).__name__}: in_channels must hold two widths, got {len(widths)}. Fuse two maps per row."
            )
        self.proj = nn.ModuleList(nn.Identity() if c == dim else nn.Conv2d(c, dim, 1) for c in widths)

    def inputs(self, x: Tensor | Sequence[Tensor], residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """The two maps (B, C, H, W), projected where their width is not C."""
        maps: Any = list(x) if residual is None else [x, residual]
        same_size(self, *maps)
        return self.proj[0](maps[0]), self.proj[1](maps[1])


@register(paper=PAPER, year=2021, kind="fusion", channels="fuse", stands_for="Concat", licence="none")
class DAF(_Fusion):
    """Direct fusion: the plain sum that AFF and iAFF are compared with.

    Args:
        dim: Number of channels C of the result.
        in_channels: Widths of the two inputs; one that is not C is projected by a 1x1 convolution. Both C by default.

    Shape:
        Two inputs (B, C_i, H, W), as a list or as two arguments; output (B, C, H, W).

    Raises:
        ValueError: If dim is not positive, there are not two inputs, or their sizes differ.

    References:
        Dai et al., WACV 2021, arXiv:2009.14082, table 1. Differs: inputs of other widths are projected.
    """

    def __init__(self, dim: int, in_channels: Sequence[int] | None = None) -> None:
        super().__init__(dim, in_channels)

    def forward(self, x: Tensor | Sequence[Tensor], residual: Tensor | None = None) -> Tensor:
        first, second = self.inputs(x, residual)
        return first + second


@register(paper=PAPER, year=2021, kind="channel and spatial gate", known_as=("MSCAM",), tiny=(8, 2), licence="none")
class MS_CAM(nn.Module):
    """Multi-scale channel attention: a gate per channel and pixel from local and global channel context.

    Args:
        dim: Number of channels C.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive.

    References:
        Dai et al., WACV 2021, arXiv:2009.14082, eq. 1-2, fig. 2. Differs: one image in training mode is normalised
        behind the pooling by the running statistics, where the official code raises.
    """

    def __init__(self, dim: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = _hidden(self, dim, reduction)
        self.local_att = _context(dim, hidden, pooled=False)
        self.global_att = _context(dim, hidden, pooled=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.local_att(x) + self.global_att(x)).sigmoid()


@register(paper=PAPER, year=2021, kind="fusion", channels="fuse", stands_for="Concat", tiny=(8, 2), licence="none")
class AFF(_Fusion):
    """Attentional feature fusion of two maps: MS_CAM of their sum says how much of each is taken.

    Args:
        dim: Number of channels C of the result.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        in_channels: Widths of the two inputs; one that is not C is projected by a 1x1 convolution. Both C by default.

    Shape:
        Two inputs (B, C_i, H, W), as a list or as two arguments; output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive, there are not two inputs, or their sizes differ.

    References:
        Dai et al., WACV 2021, arXiv:2009.14082, eq. 3, fig. 3a. Differs: the factor 2 of the official code is kept;
        inputs of other widths are projected; one image in training mode doesn't raise (see MS_CAM).
    """

    def __init__(self, dim: int, reduction: int = 4, in_channels: Sequence[int] | None = None) -> None:
        super().__init__(dim, in_channels)
        hidden = _hidden(self, dim, reduction)
        self.local_att = _context(dim, hidden, pooled=False)
        self.global_att = _context(dim, hidden, pooled=True)

    def forward(self, x: Tensor | Sequence[Tensor], residual: Tensor | None = None) -> Tensor:
        first, second = self.inputs(x, residual)
        total = first + second
        share = (self.local_att(total) + self.global_att(total)).sigmoid()
        return 2 * (second + (first - second) * share)


@register(paper=PAPER, year=2021, kind="fusion", channels="fuse", stands_for="Concat", tiny=(8, 2), licence="none")
class iAFF(_Fusion):
    """Iterative attentional feature fusion: AFF's result, not the sum, decides the shares of a second fusion.

    Args:
        dim: Number of channels C of the result.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).
        in_channels: Widths of the two inputs; one that is not C is projected by a 1x1 convolution. Both C by default.
        own_global: Whether the second fusion uses its own global context (`global_att2`), as in the paper. The official
            code, and so every published weight, uses the first fusion's again and leaves `global_att2` unused.

    Shape:
        Two inputs (B, C_i, H, W), as a list or as two arguments; output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive, there are not two inputs, or their sizes differ.

    References:
        Dai et al., WACV 2021, arXiv:2009.14082, eq. 4, fig. 3b. Differs: see own_global; inputs of other widths are
        projected; one image in training mode doesn't raise (see MS_CAM).
    """

    no_gradient = ("global_att2",)  # without own_global

    def __init__(
        self, dim: int, reduction: int = 4, in_channels: Sequence[int] | None = None, own_global: bool = False
    ) -> None:
        super().__init__(dim, in_channels)
        hidden = _hidden(self, dim, reduction)
        boolean(self, own_global=own_global)
        self.own_global = own_global
        self.local_att = _context(dim, hidden, pooled=False)
        self.global_att = _context(dim, hidden, pooled=True)
        self.local_att2 = _context(dim, hidden, pooled=False)
        self.global_att2 = _context(dim, hidden, pooled=True)

    def forward(self, x: Tensor | Sequence[Tensor], residual: Tensor | None = None) -> Tensor:
        first, second = self.inputs(x, residual)
        total = first + second
        share = (self.local_att(total) + self.global_att(total)).sigmoid()
        fused = second + (first - second) * share
        again = self.global_att2 if self.own_global else self.global_att
        share = (self.local_att2(fused) + again(fused)).sigmoid()
        return second + (first - second) * share
