"""Gates that are not simply the ratio of a module's result to its input: of fusions, of SK, of DANet's channels, of a
branch of ParNet, and of timm's layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..modules._norm import batch_norm
from ..modules._sampling import at_least_float32
from ..modules.aff import AFF, iAFF
from ..modules.danet import ChannelSelfAttention
from ..modules.parnet import ParNet
from ..modules.sk import SK
from ..modules.timm_attn import TimmAttn
from .looks import Gates, Look, looks, measured

BOTH = "channel and spatial gate"
SHARE = "share of the first map"
TIMM = {  # the layers that multiply their input
    **dict.fromkeys(("se", "ese", "eca", "ecam", "ceca", "gc", "ge"), "channel gate"),
    **dict.fromkeys(("cbam", "lcbam", "coord", "scoord", "ela", "strip"), BOTH),
}


@looks.register
def _(module: AFF, x: Sequence[Tensor], queries: Tensor | None = None) -> list[Look]:
    """The share of the first map; the second has the rest."""
    first, second = module.inputs(x, None)
    return [measured(first - second, module.forward(x) / 2, BOTH, second, SHARE)]


@looks.register
def _(module: iAFF, x: Sequence[Tensor], queries: Tensor | None = None) -> list[Look]:
    first, second = module.inputs(x, None)
    return [measured(first - second, module.forward(x), BOTH, second, SHARE)]


@looks.register
def _(module: SK, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The share of each path per channel."""
    choice = module.choice([conv(x) for conv in module.convs])
    return [Gates(path, what="share of the path") for path in choice[0].flatten(1)]


@looks.register
def _(module: ChannelSelfAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """How much each channel counts for the others, the mean over these."""
    weights = module.weights(at_least_float32(x).flatten(2))[0].mean(0)
    return [Gates(weights, what="weight of a channel", name="weights")]


@looks.register
def _(module: ParNet, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The gate of the branch without a convolution."""
    return [Gates(module.gate(batch_norm(module.rbr_identity, x)).flatten())]


@looks.register
def _(module: TimmAttn, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    kind = TIMM.get(module.layer)
    return [measured(x, module.forward(x), kind)] if kind else []
