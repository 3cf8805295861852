"""Groups of adjacent or dilated positions of a map, for attention inside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ._export import exporting
from ._pieces import Pieces


@dataclass(frozen=True)
class Groups:
    """A map cut into groups of gh x gw positions, after padding it to whole groups.

    Attributes:
        size: Height and width of the map.
        group: Height and width (gh, gw) of a group.
        interval: Distance between the neighbours in a group: 1 makes windows, I makes groups of every I-th position.
        split_padding: Whether the padding is shared by both sides, the smaller half at the top and left, and not all at
            the bottom and right.
        shift: Rows and columns by which the padded map is rolled up and left, so that groups lie across the borders of
            those without a shift. The last ones then hold members from opposite ends of the map.
    """

    size: tuple[int, int]
    group: tuple[int, int]
    interval: int = 1
    split_padding: bool = False
    shift: int = 0

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Rows and columns to add at the left, right, top and bottom."""
        y, x = (-n % (g * self.interval) for n, g in zip(self.size, self.group, strict=True))
        top, left = (y // 2, x // 2) if self.split_padding else (0, 0)
        return left, x - left, top, y - top

    @property
    def padded(self) -> bool:
        """Whether to pad; what is being exported always is, by no row where none is needed, to suit other sizes too."""
        return exporting() or any(self.padding)

    @property
    def pieces(self) -> Pieces:
        """The same groups without padding; with a shift, members from opposite ends of the map in groups apart."""
        left, _, top, _ = self.padding
        before = top + -self.shift % self.group[0], left + -self.shift % self.group[1]
        return Pieces(self.size, self.group, self.interval, before)

    def split(self, x: Tensor) -> Tensor:
        """Maps (B, H, W, C), padded with zeros, as groups (B, groups, gh gw, C); members in the order of the map."""
        left, right, top, bottom = self.padding
        if self.padded:
            x = F.pad(x, (0, 0, left, right, top, bottom))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        return rearrange(
            x,
            "b (rh gh ih) (rw gw iw) c -> b (rh rw ih iw) (gh gw) c",
            gh=self.group[0],
            gw=self.group[1],
            ih=self.interval,
            iw=self.interval,
        )

    def join(self, groups: Tensor) -> Tensor:
        """The inverse of split: groups (B, groups, gh gw, C) as maps (B, H, W, C) without the padding."""
        left, right, top, bottom = self.padding
        x = rearrange(
            groups,
            "b (rh rw ih iw) (gh gw) c -> b (rh gh ih) (rw gw iw) c",
            rh=(self.size[0] + top + bottom) // (self.group[0] * self.interval),
            ih=self.interval,
            iw=self.interval,
            gh=self.group[0],
            gw=self.group[1],
        )
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return F.pad(x, (0, 0, -left, -right, -top, -bottom)) if self.padded else x

    def real(self, device: torch.device) -> Tensor | None:
        """Which members are positions of the map and not padding, (groups, gh gw), or None where all are."""
        if not self.padded:
            return None
        inside = torch.ones(1, *self.size, 1, dtype=torch.bool, device=device)
        return self.split(inside)[0, ..., 0]
