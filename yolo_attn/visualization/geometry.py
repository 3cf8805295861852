"""Where a place in a detector's map is in the original image, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Letterbox:
    """An image that was made to fit a network's input: scaled and padded on both sides, or stretched.

    Attributes:
        image: Height and width of the original image, in pixels.
        target: Height and width that it was scaled to fit into.
        padded: Height and width of the network's input, which may be less than the target.
        stretched: Whether the image fills the input, whatever its own ratio of height and width.
    """

    image: tuple[int, int]
    target: tuple[int, int]
    padded: tuple[int, int]
    stretched: bool = False

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the scaled image, without padding."""
        if self.stretched:
            return self.padded
        gain = min(target / size for target, size in zip(self.target, self.image, strict=True))
        h, w = (max(round(size * gain), 1) for size in self.image)
        return h, w

    @property
    def corner(self) -> tuple[int, int]:
        """Rows above and columns at the left of the scaled image; an odd one is at the other side."""
        y, x = ((padded - size) // 2 for padded, size in zip(self.padded, self.scaled, strict=True))
        return y, x

    def to_image(self, xy: Tensor) -> Tensor:
        """Positions (..., 2) as (x, y) in pixels of the image, 0 being its edge, of positions in a map, 0 to 1."""
        (ph, pw), (sh, sw), (top, left), (h, w) = self.padded, self.scaled, self.corner, self.image
        padded, corner, scale = (xy.new_tensor(each) for each in ((pw, ph), (left, top), (w / sw, h / sh)))
        return (xy * padded - corner) * scale

    def to_map(self, xy: Tensor, size: tuple[int, int]) -> Tensor:
        """Pixels (..., 2) as (row, column) of a map of height and width `size`, of positions (x, y) in the image.

        What is beyond the map is its nearest pixel.
        """
        (ph, pw), (sh, sw), (top, left), (h, w) = self.padded, self.scaled, self.corner, self.image
        x, y = xy.unbind(-1)
        row = (y * sh / h + top) / ph * size[0]
        column = (x * sw / w + left) / pw * size[1]
        most = torch.tensor([size[0] - 1, size[1] - 1])
        return torch.stack([row, column], -1).floor().long().clamp(min=torch.zeros_like(most), max=most)

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of every map, in pixels of the image."""
        (left, top), (right, bottom) = self.to_image(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).tolist()
        return left, right, bottom, top
