"""TimmAttn: the layer as timm makes and computes it."""

from timm.layers import create_attn
from torch import Tensor


def timm_attn(module, x: Tensor) -> Tensor:
    layer = create_attn(module.layer, module.dim, **module.options).to(x.dtype).train(module.training)
    layer.load_state_dict(module.attn.state_dict())
    return layer(x)
