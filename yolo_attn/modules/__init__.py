"""The mechanisms: one file per paper. Importing this package registers them."""

from .aff import AFF, DAF, MS_CAM, iAFF
from .dat import DATBlock
from .dattention import DAttention
from .deform_conv import C2fDCN, DeformConv
from .gct import GCT
from .residual import Residual
from .se import SE
from .sk import SK

__all__ = [
    "AFF",
    "DAF",
    "GCT",
    "MS_CAM",
    "SE",
    "SK",
    "C2fDCN",
    "DATBlock",
    "DAttention",
    "DeformConv",
    "Residual",
    "iAFF",
]
