"""The stages of DAT: blocks of windowed, deformable, pyramid and no attention (Xia et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ..registry import register
from ._checks import boolean, positive
from .dat import AttentionBlock, mlp
from .dattention import DAttention, LayerNormProxy
from .pyramid_attention import PyramidAttention
from .window_attention import LocalAttention, ShiftWindowAttention


class ConvBlock(nn.Module):
    """The block of a DAT stage without attention, as in ConvNeXt: x + MLP(LN(depthwise convolution of x)).

    Args:
        dim: Number of channels C.
        kernel_size: Kernel of the depthwise convolution, odd.
        mlp_ratio, conv_mlp, drop: Those of DATBlock, for its MLP.

    Shape:
        Input and output (B, C, H, W).

    References:
        Liu et al., CVPR 2022, arXiv:2201.03545, fig. 4, as in the official code of DAT. Differs: nothing.
    """

    def __init__(
        self, dim: int, kernel_size: int = 7, mlp_ratio: float = 4.0, conv_mlp: bool = True, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.attn = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = LayerNormProxy(dim)
        self.mlp = mlp(dim, mlp_ratio, conv_mlp, drop)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(self.attn(x)))


@register(
    paper="arXiv:2201.00520",
    year=2022,
    kind="deformable",
    repeats=True,
    stands_for="C2f",
    tiny=(8, 1, "LD", 2, 3, 2),
    licence="Apache-2.0",
)
class DATStage(nn.Module):
    """A stage of DAT: transformer blocks by letter, such as windows and deformable attention in turn.

    Args:
        dim: Number of channels C.
        n: How often the blocks are repeated; in a YAML the row's number of repeats, scaled by the model's depth.
        blocks: One letter per block. "L": LocalAttention. "S": ShiftWindowAttention, by half a window. "D": DAttention.
            "P": PyramidAttention. "X": a depthwise convolution in the place of attention.
        num_heads: Heads of every attention.
        window_size: Side of the windows of "L" and "S", and kernel of "X", which must be odd.
        stride, num_groups, kernel_size, offset_range, pe, no_off, q_size: Those of DAttention, for "D".
        sr_ratio: That of PyramidAttention, for "P".
        mlp_ratio: Hidden width of the MLPs over C.
        conv_mlp: Whether the MLPs have a depthwise 3x3 convolution (DAT++), or are the plain ones (DAT).
        lpu: Whether a local perception unit, x + depthwise 3x3 convolution of x, stands before each block (DAT++).
        layer_scale: First value of the factor per channel on both branches of a block with attention; None for no
            factor.
        head_dim: Channels per head, in place of num_heads: one YAML row then suits every width.
        drop: Dropout of attention's result and of the MLP in training.
        attn_drop: Dropout of attention weights in training.

    Shape:
        Input and output (B, C, H, W), any H, W >= 1.

    Raises:
        ValueError: If blocks has another letter or none, "X" has an even window_size, or an attention refuses its
            arguments.

    References:
        Xia et al., CVPR 2022, arXiv:2201.00520, section 3.3, fig. 3 and table 1; DAT++, arXiv:2309.01430, for conv_mlp,
        lpu (from CMT, arXiv:2107.06263) and layer_scale. Differs: parameters are listed by block; no projection in
        front, because the stage keeps the width; no stochastic depth; "N", "Q" and "E" (neighbourhood attention, QnA
        and slide attention) are not there.
    """

    def __init__(
        self,
        dim: int,
        n: int = 1,
        blocks: str = "LD",
        num_heads: int = 8,
        window_size: int = 7,
        stride: int = 1,
        num_groups: int = 1,
        kernel_size: int = 3,
        offset_range: float = -1,
        pe: str = "dwc",
        sr_ratio: int = 1,
        mlp_ratio: float = 4.0,
        conv_mlp: bool = True,
        lpu: bool = True,
        layer_scale: float | None = None,
        head_dim: int | None = None,
        no_off: bool = False,
        q_size: int | Sequence[int] | None = None,
        drop: float = 0.0,
        attn_drop: float = 0.0,
    ) -> None:
        super().__init__()
        positive(self, dim=dim, n=n, window_size=window_size)
        boolean(self, lpu=lpu)
        if not isinstance(blocks, str) or not blocks or set(blocks) - set("LSDPX"):
            raise ValueError(
                f"DATStage: blocks must be a text of the letters L, S, D, P and X, got {blocks!r}. Write LD, say."
            )
        if "X" in blocks and window_size % 2 == 0:
            raise ValueError(
                f"DATStage: window_size must be odd where blocks has an X, got {window_size}. Choose {window_size + 1}."
            )
        dropout = (attn_drop, drop)
        deformable = (num_groups, stride, kernel_size, offset_range, pe, no_off)
        attentions: dict[str, Callable[[], nn.Module]] = {
            "L": lambda: LocalAttention(dim, num_heads, window_size, head_dim, *dropout),
            "S": lambda: ShiftWindowAttention(dim, num_heads, window_size, None, head_dim, *dropout),
            "D": lambda: DAttention(dim, q_size, num_heads, *deformable, head_dim, *dropout),
            "P": lambda: PyramidAttention(dim, num_heads, sr_ratio, head_dim, *dropout),
        }
        self.blocks = nn.ModuleList(
            ConvBlock(dim, window_size, mlp_ratio, conv_mlp, drop)
            if letter == "X"
            else AttentionBlock(dim, attentions[letter](), mlp_ratio, conv_mlp, layer_scale, drop)
            for letter in blocks * n
        )
        self.local_perception_units = nn.ModuleList(
            nn.Conv2d(dim, dim, 3, 1, 1, groups=dim) for _ in self.blocks if lpu
        )

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            if self.local_perception_units:
                x = x + self.local_perception_units[i](x)
            x = block(x)
        return x
