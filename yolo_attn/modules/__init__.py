"""The mechanisms: one file per paper. Importing this package registers them."""

from ._clips import clips
from ._export import export_safe
from .aff import AFF, DAF, MS_CAM, iAFF
from .bam import BAM
from .bi_level_routing import BiLevelRouting
from .caa import CAA
from .cbam import CBAM
from .coord_att import CoordAtt
from .cpca import CPCA
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
from .eca import ECA
from .ela import ELA
from .ema import EMA
from .ese import ESE
from .fcanet import FcaNet
from .gam import GAM
from .gather_excite import GatherExcite
from .gaussian_context import GaussianContext
from .gct import GCT
from .global_context import GlobalContext
from .group_attention import DynamicPosBias
from .lct import LCT
from .lsk import LSK
from .lska import LSKA
from .mhsa import MHSA
from .mlca import MLCA
from .msda import DeformableTransformerEncoderLayer, MSDeformAttn
from .nam import NAM
from .non_local import NonLocal
from .parnet import ParNet
from .plain_conv import PlainConv
from .polarized import PolarizedParallel, PolarizedSequential
from .pyramid_attention import PyramidAttention
from .residual import Residual
from .se import SE
from .sge import SGE
from .shuffle_attention import ShuffleAttention
from .sifa import SIFA
from .simam import SimAM
from .sk import SK
from .slpt import SparseLocalPatch
from .srm import SRM
from .strip_pooling import StripPooling
from .timm_attn import TimmAttn
from .triplet_attention import TripletAttention
from .window_attention import LocalAttention, ShiftWindowAttention

__all__ = [
    "AFF",
    "BAM",
    "CAA",
    "CBAM",
    "CPCA",
    "DAF",
    "ECA",
    "ELA",
    "EMA",
    "ESE",
    "GAM",
    "GCT",
    "LCT",
    "LSK",
    "LSKA",
    "MHSA",
    "MLCA",
    "MS_CAM",
    "NAM",
    "SE",
    "SGE",
    "SIFA",
    "SK",
    "SRM",
    "BiLevelRouting",
    "C2fDCN",
    "ChannelSelfAttention",
    "CoordAtt",
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
    "FcaNet",
    "GatherExcite",
    "GaussianContext",
    "GlobalContext",
    "LocalAttention",
    "MSDeformAttn",
    "NonLocal",
    "ParNet",
    "PlainConv",
    "PolarizedParallel",
    "PolarizedSequential",
    "PositionAttention",
    "PyramidAttention",
    "Residual",
    "ShiftWindowAttention",
    "ShuffleAttention",
    "SimAM",
    "SparseLocalPatch",
    "StripPooling",
    "TimmAttn",
    "TripletAttention",
    "clips",
    "export_safe",
    "iAFF",
]
