"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from .aff import AFF, DAF, MS_CAM, iAFF
from .dat import DATBlock
from .dattention import DAttention
from .gct import GCT
from .residual import Residual
from .se import SE
from .sifa import SIFA

__all__ = ["AFF", "DAF", "GCT", "MS_CAM", "SE", "SIFA", "DATBlock", "DAttention", "Residual", "clips", "iAFF"]
