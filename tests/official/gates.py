"""SE (paper and timm), GCT, and open-aff's fusions."""

from __future__ import annotations

from yolo_attn.modules import AFF, DAF, GCT, MS_CAM, SE, iAFF

from .ours import Ours


def timm_se(channels, rd_ratio=1 / 16, rd_channels=None, rd_divisor=8, bias=True):
    rounded = max(rd_divisor, int(channels * rd_ratio + rd_divisor / 2) // rd_divisor * rd_divisor)
    return SE(channels, bias=bias, hidden_dim=rd_channels or rounded)


TABLE = {
    "GCT.GCT": Ours(
        lambda num_channels, epsilon=1e-5, mode="l2", after_relu=False: GCT(num_channels, epsilon, mode, after_relu)
    ),
    "open-aff.DAF": Ours(lambda: DAF(1, in_channels=[1, 1])),  # no parameters: any width
    "open-aff.MS_CAM": Ours(lambda channels=64, r=4: MS_CAM(channels, r)),
    "open-aff.AFF": Ours(lambda channels=64, r=4: AFF(channels, r)),
    "open-aff.iAFF": Ours(lambda channels=64, r=4: iAFF(channels, r)),
    "SE.SEPaper": Ours(
        lambda channel, reduction=16, bias=True: SE(channel, reduction, bias), {"fc.0.": "fc1.", "fc.2.": "fc2."}
    ),
    "SE.timm_SEModule": Ours(timm_se),
}
