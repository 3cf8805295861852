"""BAM: arXiv:1807.06514, eq. 1 (result), eq. 2 (sum), eq. 3 (channels), eq. 4 (pixels), with the code's layers."""

from torch import Tensor

from .common import batch_norm, conv2d, sigmoid


def bam(module, x: Tensor) -> Tensor:
    fc0, bn0, _, fc1 = module.channel_att
    m_c = x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])
    m_c = conv2d(fc1, batch_norm(bn0, conv2d(fc0, m_c)).clamp(min=0))
    m_s = x
    for i in (0, 3, 6):
        m_s = batch_norm(module.spatial_att[i + 1], conv2d(module.spatial_att[i], m_s)).clamp(min=0)
    m_s = conv2d(module.spatial_att[9], m_s)
    return x + x * sigmoid(m_c.expand_as(x) + m_s.expand_as(x))
