"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import crossformer, dat, deform_conv, deformable_detr, dpt, gates, sifa, sk, slpt
from .ours import Ours

FAMILIES = (crossformer, dat, deform_conv, deformable_detr, dpt, gates, sifa, sk, slpt)
TABLE: dict[str, Ours] = {symbol: ours for family in FAMILIES for symbol, ours in family.TABLE.items()}
