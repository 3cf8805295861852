"""The mechanisms: one file per paper. Importing this package registers them."""

from .aff import AFF, DAF, MS_CAM, iAFF
from .cross_scale_embed import CrossScaleEmbed
from .crossformer import CrossFormerBlock, CrossFormerStage
from .dat import DATBlock
from .dattention import DAttention
from .gct import GCT
from .residual import Residual
from .se import SE

__all__ = [
    "AFF",
    "DAF",
    "GCT",
    "MS_CAM",
    "SE",
    "CrossFormerBlock",
    "CrossFormerStage",
    "CrossScaleEmbed",
    "DATBlock",
    "DAttention",
    "Residual",
    "iAFF",
]
