"""Gather-Excite (Hu et al., NeurIPS 2018)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import boolean, positive
from ._norm import LenientSequential

EXTENTS = (0, 2, 4, 8, 16, 32, 64)


def _gather(dim: int, extent: int) -> LenientSequential:
    """Depthwise convolutions of stride 2 until a pixel stands for `extent` by `extent` of them."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    steps = extent.bit_length() - 1
    for i in range(1, steps + 1):
        layers[f"conv{i}"] = nn.Conv2d(dim, dim, 3, 2, 1, groups=dim, bias=False)
        layers[f"norm{i}"] = nn.BatchNorm2d(dim)
        if i < steps:
            layers[f"act{i}"] = nn.ReLU()
    return LenientSequential(layers)


@register(
    paper="arXiv:1810.12348",
    year=2018,
    kind="channel and spatial gate",
    known_as=("GEAttention", "GELayer", "GEModule", "GENet", "GatherExciteModule"),
    tiny=(8, 4, True, True, 2),
)
class GatherExcite(nn.Module):
    """Gather-Excite: a gate per channel, and per neighbourhood of pixels, from what is gathered around it.

    Without further arguments it is the paper's GE-theta-minus of global extent, without parameters; with
    extra_params GE-theta, with use_mlp too GE-theta-plus. Global extent with use_mlp is SE.

    Args:
        dim: Number of channels C.
        extent: Pixels along each side of a neighbourhood, a power of two; 0 for the whole map.
        extra_params: Whether depthwise convolutions gather, and not an average. It needs an extent: one convolution
            over the whole map would fix the map's size.
        use_mlp: Whether a bottleneck of two 1x1 convolutions follows.
        reduction: Bottleneck ratio r; the hidden width is max(dim // r, 1).

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If dim or reduction is not positive, the extent is none of 0, 2, 4, ..., 64, or it is 0 with
            extra_params.

    References:
        Hu et al., NeurIPS 2018, arXiv:1810.12348. Differs: no global extent with extra_params; one
        value per channel in training mode is normalised by the running statistics.
    """

    def __init__(
        self, dim: int, extent: int = 0, extra_params: bool = False, use_mlp: bool = False, reduction: int = 16
    ) -> None:
        super().__init__()
        positive(self, dim=dim, reduction=reduction)
        boolean(self, extra_params=extra_params, use_mlp=use_mlp)
        allowed = EXTENTS[1:] if extra_params else EXTENTS
        if type(extent) is not int or extent not in allowed:  # 2.0 is in it too
            why = " with extra_params" if extra_params else ""
            raise ValueError(
                f"GatherExcite: extent must be one of {', '.join(map(str, allowed))}{why}, got {extent!r}. "
                "Choose one of these."
            )
        self.extent = extent
        self.gather = _gather(dim, extent) if extra_params else None
        hidden = max(dim // reduction, 1)
        self.mlp: nn.Module = nn.Identity()
        if use_mlp:
            layers = {"fc1": nn.Conv2d(dim, hidden, 1), "act": nn.ReLU(), "fc2": nn.Conv2d(hidden, dim, 1)}
            self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        if self.extent == 0:
            return x * self.mlp(x.mean((2, 3), keepdim=True)).sigmoid()
        if self.gather is not None:
            context = self.gather(x)
        else:
            e = self.extent
            context = F.avg_pool2d(x, 2 * e - 1, e, e - 1, count_include_pad=False)
        context = self.mlp(context).sigmoid()  # B C H/e W/e, rounded up
        return x * F.interpolate(context, x.shape[2:])
