"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import crossformer, dat, deformable_detr, dpt, gates, sifa, slpt
from .ours import Ours

TABLE: dict[str, Ours] = {**crossformer.TABLE, **dat.TABLE, **deformable_detr.TABLE, **dpt.TABLE, **gates.TABLE, **sifa.TABLE, **slpt.TABLE}
