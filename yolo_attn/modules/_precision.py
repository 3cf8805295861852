"""Half precision where a mechanism multiplies its input by a linear function of it."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = torch.finfo(torch.float16).max  # 65504


def saturated(x: Tensor) -> Tensor:
    """float16 with infinities, of either sign, as the largest finite numbers; other types as they are.

    A product of two maps in the hundreds leaves float16's range, and the layers behind would make NaN of infinities.
    """
    return x.clamp(-LARGEST, LARGEST) if x.dtype == torch.float16 else x
