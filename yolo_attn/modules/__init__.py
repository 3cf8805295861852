"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from ._export import export_safe
from .aff import AFF, DAF, MS_CAM, iAFF
from .bi_level_routing import BiLevelRouting
from .criss_cross import CrissCross
from .cross_scale_embed import CrossScaleEmbed
from .crossformer import CrossFormerBlock, CrossFormerStage
from .danet import ChannelSelfAttention, PositionAttention
from .dat import DATBlock
from .dat_stage import DATStage
from .dattention import DAttention
from .deform_conv import C2fDCN, DeformConv
from .depatch import DePatch
from .double_attention import DoubleAttention
from .gct import GCT
from .group_attention import DynamicPosBias
from .mhsa import MHSA
from .msda import DeformableTransformerEncoderLayer, MSDeformAttn
from .non_local import NonLocal
from .plain_conv import PlainConv
from .polarized import PolarizedParallel, PolarizedSequential
from .pyramid_attention import PyramidAttention
from .residual import Residual
from .se import SE
from .sifa import SIFA
from .sk import SK
from .slpt import SparseLocalPatch
from .window_attention import LocalAttention, ShiftWindowAttention

__all__ = [
    "AFF",
    "DAF",
    "GCT",
    "MHSA",
    "MS_CAM",
    "SE",
    "SIFA",
    "SK",
    "BiLevelRouting",
    "C2fDCN",
    "ChannelSelfAttention",
    "CrissCross",
    "CrossFormerBlock",
    "CrossFormerStage",
    "CrossScaleEmbed",
    "DATBlock",
    "DATStage",
    "DAttention",
    "DePatch",
    "DeformConv",
    "DeformableTransformerEncoderLayer",
    "DoubleAttention",
    "DynamicPosBias",
    "LocalAttention",
    "MSDeformAttn",
    "NonLocal",
    "PlainConv",
    "PolarizedParallel",
    "PolarizedSequential",
    "PositionAttention",
    "PyramidAttention",
    "Residual",
    "ShiftWindowAttention",
    "SparseLocalPatch",
    "clips",
    "export_safe",
    "iAFF",
]
