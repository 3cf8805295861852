"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from ._export import export_safe
from .aff import AFF, DAF, MS_CAM, iAFF
from .bam import BAM
from .cbam import CBAM
from .coord_att import CoordAtt
from .cross_scale_embed import CrossScaleEmbed
from .crossformer import CrossFormerBlock, CrossFormerStage
from .dat import DATBlock
from .dat_stage import DATStage
from .dattention import DAttention
from .deform_conv import C2fDCN, DeformConv
from .depatch import DePatch
from .ela import ELA
from .gam import GAM
from .gct import GCT
from .group_attention import DynamicPosBias
from .msda import DeformableTransformerEncoderLayer, MSDeformAttn
from .plain_conv import PlainConv
from .pyramid_attention import PyramidAttention
from .residual import Residual
from .se import SE
from .sge import SGE
from .shuffle_attention import ShuffleAttention
from .sifa import SIFA
from .simam import SimAM
from .sk import SK
from .slpt import SparseLocalPatch
from .triplet_attention import TripletAttention
from .window_attention import LocalAttention, ShiftWindowAttention

__all__ = [
    "AFF",
    "BAM",
    "CBAM",
    "DAF",
    "ELA",
    "GAM",
    "GCT",
    "MS_CAM",
    "SE",
    "SGE",
    "SIFA",
    "SK",
    "C2fDCN",
    "CoordAtt",
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
    "PlainConv",
    "PyramidAttention",
    "Residual",
    "ShiftWindowAttention",
    "ShuffleAttention",
    "SimAM",
    "SparseLocalPatch",
    "TripletAttention",
    "clips",
    "export_safe",
    "iAFF",
]
