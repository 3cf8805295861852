"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import dat, gates, sifa
from .ours import Ours

TABLE: dict[str, Ours] = {**dat.TABLE, **gates.TABLE, **sifa.TABLE}
