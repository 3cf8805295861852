"""The mechanisms in their published form: plain products, softmax and sampling, as the authors' code computes them.

Each form takes a module and its inputs, and computes the module's result from the module's own parameters. Written from
the papers' equations; dropout, which is 0 by default, is left out.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

from torch import Tensor, nn

from ...modules import (
    GCT,
    MHSA,
    SE,
    SIFA,
    CrissCross,
    CrossFormerBlock,
    DAttention,
    DeformableTransformerEncoderLayer,
    DePatch,
    LocalAttention,
    MSDeformAttn,
    NonLocal,
    PositionAttention,
    PyramidAttention,
    ShiftWindowAttention,
    SparseLocalPatch,
)
from . import crossformer, dattention, depatch, gates, msda, pixels, pyramid, sifa, slpt, windows

FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    CrissCross: pixels.published_criss_cross,
    CrossFormerBlock: crossformer.published,
    DAttention: dattention.published,
    DePatch: depatch.published,
    DeformableTransformerEncoderLayer: msda.published_layer,
    GCT: gates.published_gct,
    LocalAttention: windows.published,
    MHSA: pixels.published_mhsa,
    MSDeformAttn: msda.published,
    NonLocal: pixels.published_non_local,
    PositionAttention: pixels.published_position,
    PyramidAttention: pyramid.published,
    SE: gates.published_se,
    ShiftWindowAttention: windows.published,
    SIFA: sifa.published,
    SparseLocalPatch: slpt.published,
}


def published(module: nn.Module) -> nn.Module | None:
    """A copy of a module that computes in the published form, itself or in the parts that it is made of.

    Returns:
        The copy, or None where nothing in the module has a published form.
    """
    copied = copy.deepcopy(module)
    found = [(part, FORMS[type(part)]) for part in copied.modules() if type(part) in FORMS]
    for part, form in found:
        part.forward = functools.partial(form, part)
    return copied if found else None
