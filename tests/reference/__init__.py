"""Slow, obviously right float64 versions of the mechanisms, written from the papers' equations.

REFERENCES maps a registered name to a function (module, *inputs) -> output that reads the module's parameters and
options, and nothing else of it.
"""

from . import (
    aff,
    criss_cross,
    crossformer,
    dat,
    deform_conv,
    depatch,
    double_attention,
    gct,
    mhsa,
    msda,
    non_local,
    plain_conv,
    pvt,
    residual,
    se,
    sifa,
    sk,
    slpt,
    swin,
)

REFERENCES = {
    "AFF": aff.aff,
    "C2fDCN": deform_conv.c2f,
    "CrissCross": criss_cross.criss_cross,
    "CrossFormerBlock": crossformer.block,
    "CrossFormerStage": crossformer.stage,
    "CrossScaleEmbed": crossformer.embed,
    "DAF": aff.daf,
    "DATBlock": dat.block,
    "DATStage": dat.stage,
    "DAttention": dat.attention,
    "DePatch": depatch.depatch,
    "DeformConv": deform_conv.deform_conv,
    "DeformableTransformerEncoderLayer": msda.encoder_layer,
    "DoubleAttention": double_attention.double_attention,
    "GCT": gct.gct,
    "LocalAttention": swin.attention,
    "MHSA": mhsa.mhsa,
    "MSDeformAttn": msda.attention,
    "MS_CAM": aff.ms_cam,
    "NonLocal": non_local.non_local,
    "PlainConv": plain_conv.plain_conv,
    "PyramidAttention": pvt.attention,
    "Residual": residual.residual,
    "SE": se.se,
    "SIFA": sifa.sifa,
    "SK": sk.sk,
    "ShiftWindowAttention": swin.attention,
    "SparseLocalPatch": slpt.sparse_local_patch,
    "iAFF": aff.iaff,
}
