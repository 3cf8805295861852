"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from ._export import export_safe
from .aff import AFF, DAF, MS_CAM, iAFF
from .caa import CAA
from .cpca import CPCA
from .cross_scale_embed import CrossScaleEmbed
from .crossformer import CrossFormerBlock, CrossFormerStage
from .dat import DATBlock
from .dat_stage import DATStage
from .dattention import DAttention
from .deform_conv import C2fDCN, DeformConv
from .depatch import DePatch
from .ema import EMA
from .gct import GCT
from .group_attention import DynamicPosBias
from .lsk import LSK
from .lska import LSKA
from .mlca import MLCA
from .msda import DeformableTransformerEncoderLayer, MSDeformAttn
from .parnet import ParNet
from .plain_conv import PlainConv
from .pyramid_attention import PyramidAttention
from .residual import Residual
from .se import SE
from .sifa import SIFA
from .sk import SK
from .slpt import SparseLocalPatch
from .strip_pooling import StripPooling
from .window_attention import LocalAttention, ShiftWindowAttention

__all__ = [
    "AFF",
    "CAA",
    "CPCA",
    "DAF",
    "EMA",
    "GCT",
    "LSK",
    "LSKA",
    "MLCA",
    "MS_CAM",
    "SE",
    "SIFA",
    "SK",
    "C2fDCN",
    "CrossFormerBlock",
    "CrossFormerStage",
    "CrossScaleEmbed",
    "DATBlock",
    "DATStage",
    "DAttention",
    "DePatch",
    "DeformConv",
    "DeformableTransformerEncoderLayer",
    "DynamicPosBias",
    "LocalAttention",
    "MSDeformAttn",
    "ParNet",
    "PlainConv",
    "PyramidAttention",
    "Residual",
    "ShiftWindowAttention",
    "SparseLocalPatch",
    "StripPooling",
    "clips",
    "export_safe",
    "iAFF",
]
