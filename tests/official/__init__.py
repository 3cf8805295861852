"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import dat, dpt, gates
from .ours import Ours

TABLE: dict[str, Ours] = {**dat.TABLE, **dpt.TABLE, **gates.TABLE}
