"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from .aff import AFF, DAF, MS_CAM, iAFF
from .cross_scale_embed import CrossScaleEmbed
from .crossformer import CrossFormerBlock, CrossFormerStage
from .dat import DATBlock
from .dat_stage import DATStage
from .dattention import DAttention
from .depatch import DePatch
from .deform_conv import C2fDCN, DeformConv
from .gct import GCT
from .msda import DeformableTransformerEncoderLayer, MSDeformAttn
from .pyramid_attention import PyramidAttention
from .residual import Residual
from .se import SE
from .window_attention import LocalAttention, ShiftWindowAttention
from .sk import SK

__all__ = [
    "AFF",
    "DAF",
    "GCT",
    "MS_CAM",
    "SE",
    "DATBlock",
    "DATStage",
    "DAttention",
    "DeformableTransformerEncoderLayer",
    "LocalAttention",
    "MSDeformAttn",
    "PyramidAttention",
    "Residual",
    "ShiftWindowAttention",
    "CrossFormerBlock",
    "CrossFormerStage",
    "CrossScaleEmbed",
    "iAFF",
]
__all__ = ["AFF", "DAF", "GCT", "MS_CAM", "SE", "DATBlock", "DAttention", "DePatch", "Residual", "iAFF"]
from .slpt import SparseLocalPatch

__all__ = ["AFF", "DAF", "GCT", "MS_CAM", "SE", "DATBlock", "DAttention", "Residual", "SparseLocalPatch", "iAFF"]
from .sifa import SIFA

__all__ = ["AFF", "DAF", "GCT", "MS_CAM", "SE", "SIFA", "DATBlock", "DAttention", "Residual", "clips", "iAFF"]
    "SK",
    "C2fDCN",
    "DeformConv",
]
