"""Slow, obviously right float64 versions of the mechanisms, written from the papers' equations.

REFERENCES maps a registered name to a function (module, *inputs) -> output that reads the module's parameters and
options, and nothing else of it.
"""

from . import aff, dat, deform_conv, gct, residual, se, sk

REFERENCES = {
    "AFF": aff.aff,
    "C2fDCN": deform_conv.c2f,
    "DAF": aff.daf,
    "DATBlock": dat.block,
    "DAttention": dat.attention,
    "DeformConv": deform_conv.deform_conv,
    "GCT": gct.gct,
    "MS_CAM": aff.ms_cam,
    "Residual": residual.residual,
    "SE": se.se,
    "SK": sk.sk,
    "iAFF": aff.iaff,
}
