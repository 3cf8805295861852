"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import dat, deformable_detr, gates
from .ours import Ours

TABLE: dict[str, Ours] = {**dat.TABLE, **deformable_detr.TABLE, **gates.TABLE}
