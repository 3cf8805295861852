"""TABLE: official symbol -> our class and argument names, one file per family of golden cases."""

from . import crossformer, dat, deform_conv, deformable_detr, dpt, gates, sifa, sk, slpt
from .ours import Ours

TABLE: dict[str, Ours] = {
    **crossformer.TABLE,
    **dat.TABLE,
    **deform_conv.TABLE,
    **deformable_detr.TABLE,
    **dpt.TABLE,
    **gates.TABLE,
    **sifa.TABLE,
    **sk.TABLE,
    **slpt.TABLE,
}
