"""What softmax attention looks at: for its queries, how much each pixel of the map counts.

A result of attention is a weighted sum of values, and so its derivative by a value is that value's weight. It is taken
of the modules' own computations: what is shown can't differ from what they do, and needs the memory of a training step,
where a matrix of all pairs of pixels would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..modules._pieces import Pieces
from ..modules._sampling import at_least_float32, without_autocast
from ..modules._windows import Groups
from ..modules.bi_level_routing import BiLevelRouting
from ..modules.criss_cross import CrissCross
from ..modules.crossformer import CrossFormerBlock
from ..modules.danet import PositionAttention
from ..modules.double_attention import DoubleAttention
from ..modules.global_context import GlobalContext
from ..modules.mhsa import MHSA
from ..modules.non_local import NonLocal
from ..modules.pyramid_attention import PyramidAttention
from ..modules.window_attention import LocalAttention
from .looks import Gates, Look, Weights, looks


@looks.register
def _(module: MHSA, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    return _looks(Attention(module.forward, module.qkv, module.proj, parts=3), x, queries)


@looks.register
def _(module: NonLocal, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """Nothing in mode dot_product, whose products of either sign are no shares of anything."""
    if module.mode == "dot_product":
        return []
    return _looks(Attention(module.forward, module.g, module.out), x, queries)


@looks.register
def _(module: PositionAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    return _looks(Attention(module.attended, module.value_conv), x, queries)


@looks.register
def _(module: CrissCross, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The weights along all R passes, a product of R matrices: from R = 2 on every pixel has some."""
    inputs: list[Tensor] = []
    note = module.value_conv.register_forward_pre_hook(lambda layer, args: inputs.append(args[0]))
    with torch.no_grad(), without_autocast(x), note:
        module.forward(x)
    share = _share(x, queries)
    for each in reversed(inputs):
        share = _back(Attention(module.attended, module.value_conv), each, share)
    return [Weights(share)]


@looks.register
def _(module: DoubleAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """What a pixel is given of the n features, each times what the feature has gathered of every pixel."""
    return _looks(Attention(module.forward, module.convA, module.conv_reconstruct), x, queries)


@looks.register
def _(module: BiLevelRouting, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The weights of attention, without the convolution of the values that is added to its result."""
    with module.lepe.register_forward_hook(lambda layer, args, out: out.detach()):
        return _looks(Attention(module.forward, module.qkv_linear, module.output_linear, parts=3), x, queries)


@looks.register
def _(module: PyramidAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The weight of a key is shared by the R x R pixels that it is made of; rows and columns that are left over by the
    reduction have none."""
    ratio, (h, w) = module.sr_ratio, x.shape[2:]
    pixels = min(ratio, h) * min(ratio, w)

    def keys(each: Tensor) -> Tensor:
        padded = F.pad(each, (0, max(ratio - w, 0), 0, max(ratio - h, 0)))
        return F.avg_pool2d(padded, ratio, divisor_override=pixels)

    return _looks(Attention(module.forward, module.kv, module.proj, parts=2, values=keys), x, queries)


@looks.register
def _(module: LocalAttention, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    pieces = Groups((x.shape[2], x.shape[3]), module.window_size, shift=module.shift_size).pieces
    return _looks(_by_pieces(module.forward, module.proj_qkv, module.proj_out, pieces), x, queries)


@looks.register
def _(module: CrossFormerBlock, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """The weights of the block's attention in groups. Where padding takes part (no_mask), they sum to less than 1: its
    share belongs to no pixel."""
    groups = module.groups((x.shape[2], x.shape[3]))
    qkv, proj = module.attn.qkv, module.attn.proj
    if module.no_mask and groups.padded:
        attention = Attention(
            module.forward, qkv, proj, 3, -1,
            lambda each: groups.split(each.permute(0, 2, 3, 1)), lambda each: groups.join(each).permute(0, 3, 1, 2),
        )  # fmt: skip
    else:
        attention = _by_pieces(module.forward, qkv, proj, groups.pieces)
    return _looks(attention, x, queries)


@looks.register
def _(module: GlobalContext, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    """What the pixels count in the image's vector, the same for all queries; and the gates, where the vector scales."""
    with torch.no_grad(), without_autocast(x):
        logits = at_least_float32(module.conv_mask(x))[0, 0]
        found: list[Look] = [Weights(logits.flatten().softmax(0).view_as(logits))]
        if module.channel_mul_conv is not None:
            gate = at_least_float32(module.channel_mul_conv(module.context(x))).sigmoid()
            found.append(Gates(channels=gate.flatten()))
        return found


@dataclass(frozen=True)
class Attention:
    """Where the values of an attention arise, and where its result is.

    Attributes:
        run: The method of a module that computes it from a map (1, C, H, W).
        value: The layer that makes the values.
        output: The layer that takes the result; None where it is what `run` returns.
        parts: How many things the layer makes, side by side, of which the values are the last: 3 where queries and keys
            are the others.
        dim: Dimension of the channels in what both layers see.
        values: Gives what pixels (1, 1, H, W) contribute to the values, in the order and shape of these.
        results: Gives the map (1, c, H, W) of a result.
    """

    run: Callable[[Tensor], Tensor]
    value: nn.Module
    output: nn.Module | None = None
    parts: int = 1
    dim: int = 1
    values: Callable[[Tensor], Tensor] = lambda each: each
    results: Callable[[Tensor], Tensor] = lambda each: each


def _by_pieces(run: Callable[[Tensor], Tensor], qkv: nn.Module, proj: nn.Module, pieces: Pieces) -> Attention:
    """Attention inside groups, whose layers see pixels by group; or in their own order, where all are one group."""
    return Attention(
        run, qkv, proj, 3, -1,
        lambda each: pieces.gather(each.permute(0, 2, 3, 1)),
        lambda each: pieces.scatter(each.flatten(0, -2), 1).permute(0, 3, 1, 2),
    )  # fmt: skip


def _looks(attention: Attention, x: Tensor, queries: Tensor | None) -> list[Look]:
    return [Weights(_back(attention, x, _share(x, queries)))]


def _share(x: Tensor, queries: Tensor | None) -> Tensor:
    """The share (H, W) of each pixel in a mean over queries (Q, 2), or over all pixels."""
    size = x.shape[2:]
    share = torch.zeros(size, dtype=at_least_float32(x[:0]).dtype, device=x.device)
    if queries is None:
        return share.fill_(1 / size.numel())
    each = share.new_full((len(queries),), 1 / len(queries))
    return share.index_put_(tuple(queries.to(x.device).unbind(1)), each, accumulate=True)


def _back(attention: Attention, x: Tensor, share: Tensor) -> Tensor:
    """The share (H, W) of each pixel's value in a mean of results, from the share of each pixel's result in it.

    The values have a zero for each pixel added to them, the same for all channels. The derivative of the result's mean
    over channels by that zero is the mean of the weights over heads, which have as many channels each.
    """
    results: list[Tensor] = []
    with torch.inference_mode(False), torch.enable_grad(), without_autocast(x):
        run = _Method(attention.run)
        state = {name: _differentiable(each) for name, each in run.state_dict().items()}
        zero = torch.zeros(1, 1, *share.shape, dtype=share.dtype, device=share.device, requires_grad=True)

        def add(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
            *others, value = out.chunk(attention.parts, attention.dim)
            more = attention.values(zero)
            more = more if attention.dim == 1 else more.reshape(*value.shape[:-1], 1)
            return torch.cat([*others, value + more], attention.dim)

        with attention.value.register_forward_hook(add):
            if attention.output is None:
                results.append(functional_call(run, state, (_differentiable(x),)))
            else:
                with attention.output.register_forward_pre_hook(lambda layer, args: results.append(args[0])):
                    functional_call(run, state, (_differentiable(x),))
        mean = attention.results(results[0]).mean(1)
        return torch.autograd.grad(mean, zero, share.clone()[None])[0][0, 0]


class _Method(nn.Module):
    """A module's method, without the hooks that the module's own call would run."""

    def __init__(self, method: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.owner, self.method = method.__self__, method  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        return self.method(x)


def _differentiable(x: Tensor) -> Tensor:
    """A tensor without a gradient of its own, in float32 at least; a copy if inference mode allows no other use."""
    x = at_least_float32(x.detach()) if x.is_floating_point() else x
    return x.clone() if x.is_inference() else x
