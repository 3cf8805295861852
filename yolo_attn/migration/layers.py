"""The weights of a fork's layer as those of ours, where both compute the same."""

from __future__ import annotations

from ..patches.foreign import Piece
from .adapting import Adapter, Different, Kept
from .gates import GATES
from .wider import WIDER

ADAPTERS: dict[str, Adapter] = {**GATES, **WIDER}


def kept(name: str, piece: Piece) -> Kept:
    """A layer of a fork as our module of this name.

    Raises:
        Different: If that computes something else, or nothing is known of it.
    """
    if name not in ADAPTERS:
        raise Different("it is not known how forks compute it")
    return ADAPTERS[name](piece)
