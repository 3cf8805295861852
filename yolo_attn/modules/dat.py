"""The transformer block around deformable attention (DAT: Xia et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, number, positive
from .dattention import DAttention, LayerNormProxy


class TransformerMLPWithConv(nn.Module):
    """The MLP of a DAT block, with a depthwise convolution: 1x1, x + 3x3(x), GELU, 1x1.

    Args:
        dim: Number of channels C.
        expansion: Hidden width over C.
        drop: Dropout in training.

    Shape:
        Input and output (B, C, H, W).

    References:
        The official code of arXiv:2309.01430 (DAT++). Differs: nothing.
    """

    def __init__(self, dim: int, expansion: float = 4.0, drop: float = 0.0) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=1 / dim, expansion=expansion)
        number(self, low=0, high=1, drop=drop)
        hidden = int(dim * expansion)
        self.linear1 = nn.Sequential(nn.Conv2d(dim, hidden, 1))
        self.dwc = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.act = nn.GELU()
        self.linear2 = nn.Sequential(nn.Conv2d(hidden, dim, 1))
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.linear1(x))
        return self.drop(self.linear2(self.act(x + self.dwc(x))))


class TransformerMLP(nn.Module):
    """The plain MLP of a transformer block on a map; its layers are `chunk.linear1` and `chunk.linear2`, as in DAT.

    Args:
        dim: Number of channels C.
        expansion: Hidden width over C.
        drop: Dropout in training.

    Shape:
        Input and output (B, C, H, W).

    References:
        The official code of arXiv:2201.00520. Differs: nothing.
    """

    def __init__(self, dim: int, expansion: float = 4.0, drop: float = 0.0) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=1 / dim, expansion=expansion)
        number(self, low=0, high=1, drop=drop)
        hidden = int(dim * expansion)
        self.chunk = nn.Sequential()
        self.chunk.add_module("linear1", nn.Linear(dim, hidden))
        self.chunk.add_module("act", nn.GELU())
        self.chunk.add_module("drop1", nn.Dropout(drop))
        self.chunk.add_module("linear2", nn.Linear(hidden, dim))
        self.chunk.add_module("drop2", nn.Dropout(drop))

    def forward(self, x: Tensor) -> Tensor:
        return self.chunk(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """A learned factor per channel of a map (B, C, H, W), `weight` (C), small at the start."""

    no_weight_decay = ("weight",)

    def __init__(self, dim: int, init_value: float = 1e-5) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, init_value=init_value)
        self.weight = nn.Parameter(torch.full((dim,), float(init_value)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(1, -1, 1, 1)


def mlp(dim: int, expansion: float, conv: bool, drop: float) -> nn.Module:
    """The MLP of DAT++, with a convolution, or that of DAT."""
    return (TransformerMLPWithConv if conv else TransformerMLP)(dim, expansion, drop)


class AttentionBlock(nn.Module):
    """A transformer block around any attention: x + scale(attention(LN x)), then x + scale(MLP(LN x)).

    Args:
        dim: Number of channels C.
        attn: The attention, which keeps a map's shape.
        mlp_ratio, conv_mlp, layer_scale, drop: Those of DATBlock, for its MLP and scales.

    Shape:
        Input and output (B, C, H, W).

    References:
        The official code of arXiv:2201.00520. Differs: no stochastic depth.
    """

    def __init__(
        self,
        dim: int,
        attn: nn.Module,
        mlp_ratio: float = 4.0,
        conv_mlp: bool = True,
        layer_scale: float | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        boolean(self, conv_mlp=conv_mlp)
        self.norm1 = LayerNormProxy(dim)
        self.attn = attn
        self.norm2 = LayerNormProxy(dim)
        self.mlp = mlp(dim, mlp_ratio, conv_mlp, drop)
        self.scale1, self.scale2 = (
            nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1(self.attn(self.norm1(x)))
        return x + self.scale2(self.mlp(self.norm2(x)))


@register(paper="arXiv:2201.00520", year=2022, kind="deformable", tiny=(8, None, 2), licence="Apache-2.0")
class DATBlock(AttentionBlock):
    """The whole transformer block of DAT: x + scale(attention(LN x)), then x + scale(MLP(LN x)).

    Args:
        dim: Number of channels C.
        q_size, num_heads, num_groups, stride, kernel_size, offset_range, pe, head_dim: Those of DAttention.
        mlp_ratio: Hidden width of the MLP over C.
        conv_mlp: Whether the MLP has a depthwise 3x3 convolution (DAT++), or is the plain one (DAT).
        layer_scale: First value of the factor per channel on both branches; None for no factor.
        drop: Dropout of attention's result and of the MLP in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: As DAttention does.

    References:
        Xia et al., CVPR 2022, arXiv:2201.00520, fig. 3, and arXiv:2309.01430 for conv_mlp and layer_scale. Differs:
        no stochastic depth.
    """

    def __init__(
        self,
        dim: int,
        q_size: int | Sequence[int] | None = None,
        num_heads: int = 8,
        num_groups: int = 1,
        stride: int = 1,
        kernel_size: int = 3,
        offset_range: float = -1,
        pe: str = "dwc",
        mlp_ratio: float = 4.0,
        conv_mlp: bool = True,
        layer_scale: float | None = None,
        head_dim: int | None = None,
        drop: float = 0.0,
    ) -> None:
        attn = DAttention(
            dim, q_size, num_heads, num_groups, stride, kernel_size, offset_range, pe, head_dim=head_dim, proj_drop=drop
        )
        super().__init__(dim, attn, mlp_ratio, conv_mlp, layer_scale, drop)
