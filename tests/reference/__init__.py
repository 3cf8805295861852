"""Slow, obviously right float64 versions of the mechanisms, written from the papers' equations.

REFERENCES maps a registered name to a function (module, *inputs) -> output that reads the module's parameters and
options, and nothing else of it.
"""

from . import aff, dat, gct, residual, se, sifa

REFERENCES = {
    "AFF": aff.aff,
    "DAF": aff.daf,
    "DATBlock": dat.block,
    "DAttention": dat.attention,
    "GCT": gct.gct,
    "MS_CAM": aff.ms_cam,
    "Residual": residual.residual,
    "SE": se.se,
    "SIFA": sifa.sifa,
    "iAFF": aff.iaff,
}
