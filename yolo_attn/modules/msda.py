"""Multi-scale deformable attention (Deformable DETR: Zhu et al., ICLR 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import register
from ._checks import heads, number, positive
from ._export import step_by_step
from ._layout import as_layout
from ._sampling import Sampler, at_least_float32, centres

PAPER = "arXiv:2010.04159"


def multi_scale_deformable_attention(
    value: Tensor, shapes: Sequence[Sequence[int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples of several maps; outside a map is zero.

    Args:
        value: L maps, flattened and one behind the other, (B, S, heads, d), where S is the sum of all H_l W_l.
        shapes: Height and width (H_l, W_l) of each map.
        locations: Sampling points (B, N, heads, L, P, 2) as (x, y), 0 to 1 from edge to edge of a map.
        weights: Weights (B, N, heads, L, P) of the samples.

    Returns:
        Result (B, N, heads d) in the type of value.
    """
    points = []
    for each, (h, w) in zip(at_least_float32(locations).unbind(3), shapes, strict=True):
        x, y = each.unbind(-1)
        points.append((x * w - 0.5, y * h - 0.5))
    values = value.flatten(2).split([h * w for h, w in shapes], 1)
    return _over_maps(values, shapes, points, weights.unbind(3))


def _over_maps(
    values: Sequence[Tensor],
    shapes: Sequence[Sequence[int]],
    points: Sequence[Sequence[Tensor]],
    weights: Sequence[Tensor],
) -> Tensor:
    """The same of a value (B, H_l W_l, C), x and y in pixels, and weights, (B, N, heads, P) each, for each map."""
    out = values[0].new_zeros(())
    # one map at a time: the samples of all at once would be L times as much memory
    for value, (h, _), (x, y), weight in zip(values, shapes, points, weights, strict=True):
        out = out + Sampler(rearrange(value, "b (h w) c -> b c h w", h=h))(y, x, weight)
    return out.to(values[0].dtype)


@register(
    paper=PAPER,
    year=2021,
    kind="deformable",
    known_as=("MSDeformableAttention", "MultiScaleDeformableAttention"),
    channels="fuse",
    tiny=(8, 2, 3, (6, 8)),
    licence="Apache-2.0",
)
class MSDeformAttn(nn.Module):
    """Multi-scale deformable attention: every pixel of the first map looks at a few points of its own in all maps.

    In a YAML `[[15, 18, 21], 1, MSDeformAttn, []]`, or `[[15, 15, 18, 21], 1, Residual, [MSDeformAttn]]` beside the map
    of layer 15. Inserted at `neck`, each of the maps there gets such a row, and all rows read the maps as they were.

    Args:
        dim: Number of channels C of the result.
        num_heads: Number of attention heads; each has a contiguous block of C / num_heads channels.
        num_points: Number P of points for each query, head and map.
        in_channels: Widths of the inputs, L of them, the queries' map first; one that is not C is projected by a 1x1
            convolution. Two of C by default.
        head_dim: Channels per head, in place of num_heads.

    Shape:
        L inputs (B, C_l, H_l, W_l), as a list or as several arguments, of any sizes H_l, W_l >= 1; output
        (B, C, H_1, W_1).

    Raises:
        ValueError: If a number is not positive, heads don't divide the channels, or the inputs are not those of
            in_channels.

    References:
        Zhu et al., ICLR 2021, arXiv:2010.04159, eq. 3, appendix A.2; initialised as there. Differs: queries are the
        pixels of one map, without an embedding: that of its level would be a constant, which the biases hold already,
        and that of the position would make a detector depend on where in the image an object is. No GroupNorm behind
        the projections of the inputs. `attend` is the original for any queries.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        num_points: int = 4,
        in_channels: Sequence[int] | None = None,
        head_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = [dim, dim] if in_channels is None else list(in_channels)
        positive(self, dim=dim, num_points=num_points, inputs=len(self.in_channels))
        positive(self, **{f"in_channels[{i}]": c for i, c in enumerate(self.in_channels)})
        self.num_heads, self.num_points = heads(self, dim, num_heads, head_dim), num_points
        samples = self.num_heads * len(self.in_channels) * num_points
        self.proj = nn.ModuleList(nn.Identity() if c == dim else nn.Conv2d(c, dim, 1) for c in self.in_channels)
        self.sampling_offsets = nn.Linear(dim, 2 * samples)
        self.attention_weights = nn.Linear(dim, samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights, and points in a star: point p of head k in direction k, on a square p pixels around it."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        star = torch.stack([angle.cos(), angle.sin()], -1)
        star = star / star.abs().amax(-1, keepdim=True)
        distance = torch.arange(1.0, self.num_points + 1)
        bias = torch.einsum("nx,p->npx", star, distance)[:, None].expand(-1, len(self.in_channels), -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.flatten())

    def forward(self, x: Tensor | Sequence[Tensor], *others: Tensor) -> Tensor:
        first, others = self.split(x, *others)
        return as_layout(rearrange(self.attend_maps(first, others), "b (h w) c -> b c h w", h=first.shape[2]), first)

    def split(self, x: Tensor | Sequence[Tensor], *others: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Of the inputs of a forward, the map of the queries, with C channels, and the others as they are."""
        maps = (x, *others) if isinstance(x, Tensor) else tuple(x)
        widths = [m.shape[1] for m in maps]
        if widths != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: inputs must have {self.in_channels} channels, got {widths}. "
                "Give in_channels, one width for each input."
            )
        return self.proj[0](maps[0]), maps[1:]

    def attend_maps(self, first: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Result (B, H_1 W_1, C) for the pixels of a map (B, C, H_1, W_1), at their centres.

        Args:
            first: The map of the queries, projected.
            others: The other inputs (B, C_l, H_l, W_l).
        """
        where = centres(at_least_float32(first), *first.shape[2:]).reshape(1, -1, 1, 2)
        projected = (self._value(proj, m) for proj, m in zip([*self.proj][1:], others, strict=True))
        values = [self.value_proj(flatten(first)), *projected]
        return self._attend(flatten(first), where, values, [m.shape[2:] for m in (first, *others)])

    def _value(self, proj: nn.Module, x: Tensor) -> Tensor:
        """The value (B, H W, C) of an input (B, C_l, H, W)."""
        many = step_by_step() and x.shape[2] * x.shape[3] > x.shape[1]
        if not many or not isinstance(proj, nn.Conv2d):
            return self.value_proj(flatten(proj(x)))
        # of many pixels two layers in a row cost more than a product of their weights and one layer
        weight = self.value_proj.weight @ proj.weight.flatten(1)
        return F.linear(flatten(x), weight, self.value_proj(proj.bias))

    def attend(
        self,
        query: Tensor,
        reference_points: Tensor,
        value: Tensor,
        shapes: Sequence[Sequence[int]],
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attention of any queries.

        Args:
            query: Queries (B, N, C).
            reference_points: Where each query is in each map, (B, N, L, 2) as (x, y), or boxes (B, N, L, 4) as
                (x, y, w, h), 0 to 1 from edge to edge; a size of 1 in place of B, N or L holds for all.
            value: L maps, flattened and one behind the other, (B, S, C), where S is the sum of all H_l W_l.
            shapes: Height and width (H_l, W_l) of each map.
            mask: Which positions of value are padding, (B, S), or None.

        Returns:
            Result (B, N, C).

        Raises:
            ValueError: If reference points are neither points nor boxes.
        """
        value = self.value_proj(value)
        if mask is not None:
            value = value.masked_fill(mask[..., None], 0)
        return self._attend(query, reference_points, value.split([h * w for h, w in shapes], 1), shapes)

    def _attend(
        self, query: Tensor, reference_points: Tensor, values: Sequence[Tensor], shapes: Sequence[Sequence[int]]
    ) -> Tensor:
        """`attend` with the projected value of each map (B, H_l W_l, C)."""
        points, weights = self.points(query, reference_points, shapes)
        return self.output_proj(_over_maps(values, shapes, points, weights))

    def points(
        self, query: Tensor, reference_points: Tensor, shapes: Sequence[Sequence[int]]
    ) -> tuple[list[tuple[Tensor, Tensor]], Sequence[Tensor]]:
        """Where `attend` looks.

        Returns:
            For each map the points' x and y in pixels, 0 being the centre of the first one, and their weights,
            (B, N, heads, P) each.
        """
        offsets = rearrange(
            at_least_float32(self.sampling_offsets(query)),
            "b q (n l p xy) -> b q n l p xy",
            n=self.num_heads,
            l=len(shapes),
            xy=2,
        )
        logits = rearrange(self.attention_weights(query), "b q (n lp) -> b n lp q", n=self.num_heads)
        weights = logits.softmax(2)  # along rows of so few numbers a CPU takes five times as long
        reference = reference_points[:, :, None, :, None]  # B N 1 L 1 2|4
        if reference.shape[-1] not in (2, 4):
            raise ValueError(
                f"{type(self).__name__}: reference_points must be (x, y) or (x, y, w, h), got {reference.shape[-1]} "
                "numbers. Give 2 or 4."
            )
        points = []
        for level, (h, w) in enumerate(shapes):
            x, y, *box = reference.select(3, level if reference.shape[3] > 1 else 0).unbind(-1)
            dx, dy = offsets.select(3, level).unbind(-1)
            if box:  # the last point of the star is on the edge of the box; otherwise a move is in pixels
                width, height = (n * side / (2 * self.num_points) for n, side in zip((w, h), box, strict=True))
                dx, dy = dx * width, dy * height
            points.append((x * w - 0.5 + dx, y * h - 0.5 + dy))
        return points, rearrange(weights, "b n (l p) q -> l b q n p", l=len(shapes)).contiguous().unbind(0)


@register(
    paper=PAPER, year=2021, kind="deformable", channels="fuse", tiny=(8, 2, 2, 2, 0.0, (8, 6)), licence="Apache-2.0"
)
class DeformableTransformerEncoderLayer(nn.Module):
    """The encoder layer of Deformable DETR for one map: LN(x + MSDeformAttn(x, all maps)), then LN(x + FFN(x)).

    Args:
        dim: Number of channels C of the result.
        num_heads, num_points, head_dim: Those of MSDeformAttn.
        mlp_ratio: Hidden width of the FFN over C.
        drop: Dropout of attention's result and in the FFN in training.
        in_channels: Widths of the inputs, the refined map first; one that is not C is projected by a 1x1 convolution.
            Two of C by default.

    Shape:
        L inputs (B, C_l, H_l, W_l), as a list or as several arguments, of any sizes H_l, W_l >= 1; output
        (B, C, H_1, W_1).

    Raises:
        ValueError: As MSDeformAttn does, or if the ratio gives no hidden channel or drop is not from 0 to 1.

    References:
        Zhu et al., ICLR 2021, arXiv:2010.04159, section 4.1, fig. 1. Differs: refines the first map only, with a row of
        its own for each further one; no embeddings (see MSDeformAttn).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        num_points: int = 4,
        mlp_ratio: float = 4.0,
        drop: float = 0.1,
        in_channels: Sequence[int] | None = None,
        head_dim: int | None = None,
    ) -> None:
        super().__init__()
        positive(self, dim=dim)
        number(self, low=1 / dim, mlp_ratio=mlp_ratio)
        number(self, low=0, high=1, drop=drop)
        self.self_attn = MSDeformAttn(dim, num_heads, num_points, in_channels, head_dim)
        self.dropout1 = nn.Dropout(drop)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, int(dim * mlp_ratio))
        self.activation = nn.ReLU()
        self.dropout2 = nn.Dropout(drop)
        self.linear2 = nn.Linear(int(dim * mlp_ratio), dim)
        self.dropout3 = nn.Dropout(drop)
        self.norm2 = nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor | Sequence[Tensor], *others: Tensor) -> Tensor:
        first, others = self.self_attn.split(x, *others)
        y = self.norm1(flatten(first) + self.dropout1(self.self_attn.attend_maps(first, others)))
        hidden = self.dropout2(self.activation(self.linear1(y)))
        y = self.norm2(y + self.dropout3(self.linear2(hidden)))
        return as_layout(rearrange(y, "b (h w) c -> b c h w", h=first.shape[2]), first)


def flatten(x: Tensor) -> Tensor:
    """A map (B, C, H, W) as (B, H W, C)."""
    return x.flatten(2).transpose(1, 2)
