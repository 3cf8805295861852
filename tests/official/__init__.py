"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import dat, deform_conv, gates, sk
from .ours import Ours

TABLE: dict[str, Ours] = {**dat.TABLE, **deform_conv.TABLE, **gates.TABLE, **sk.TABLE}
