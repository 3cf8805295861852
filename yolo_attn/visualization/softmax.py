"""What softmax attention looks at: for its queries, how much each pixel of the map counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ..modules.mhsa import MHSA
from .looks import Look, Weights, looks, rows_of, softmax_weights


@looks.register
def _(module: MHSA, x: Tensor, queries: Tensor | None = None) -> list[Look]:
    raise NotImplementedError
