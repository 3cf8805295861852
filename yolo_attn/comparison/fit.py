"""How wide a plain convolution block must be to have as many parameters as another layer. Standard library only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

TOLERANCE = 0.02  # of the parameters


class Block(NamedTuple):
    """What is free in a PlainConv: its two widths in the middle, and the height and width of its kernel."""

    h1: int = 1
    h2: int = 1
    kernel: tuple[int, int] = (1, 1)

    def parameters(self, c1: int, c2: int) -> int:
        """Number of parameters between c1 and c2 channels."""
        area = self.kernel[0] * self.kernel[1]
        return c1 * self.h1 + 2 * self.h1 + area * self.h1 * self.h2 + 2 * self.h2 + self.h2 * c2 + c2


def fit(size: int, c1: int, c2: int, stride: int = 1) -> Block:
    """The block of a size: of those near enough a near one that is like two equal widths and a kernel of 3 x 3.

    Args:
        size: Number of parameters that it is to have.
        c1, c2: Channels of its input and output.
        stride: Its stride, which the kernel must cover.

    Returns:
        A block within 2 % of the size with a square kernel up to 7, else with any odd kernel; the nearest if none is.
    """
    square = [(k, k) for k in (1, 3, 5, 7) if k >= stride]
    # Under 13 C parameters, square kernels leave gaps of up to C: there the sides may be any odd numbers.
    sides = range(stride | 1, max(stride, 42) + 2, 2)
    for kernels in (square, list(itertools.combinations_with_replacement(sides, 2))):
        blocks = [block for kernel in kernels for block in _around(size, c1, c2, kernel)]
        off = [(abs(block.parameters(c1, c2) - size) / max(size, 1), block) for block in blocks]
        if near := [(error / 0.005 + _oddness(block), block) for error, block in off if error <= TOLERANCE]:
            return min(near)[1]  # half a percent off weighs as much as one width e times the other
    return min(off)[1]


def _around(size: int, c1: int, c2: int, kernel: tuple[int, int]) -> Iterator[Block]:
    """For each h1 the two h2 that give the sizes on either side."""
    for h1 in range(1, max((size - c2) // (c1 + 2), 1) + 1):
        h2 = (size - c2 - h1 * (c1 + 2)) // (kernel[0] * kernel[1] * h1 + 2 + c2)
        yield from (Block(h1, h, kernel) for h in {max(h2, 1), max(h2 + 1, 1)})


def _oddness(block: Block) -> float:
    """How unlike two equal widths and 3 x 3 a block is: the sum of the logarithms of the ratios."""
    return sum(abs(math.log(ratio)) for ratio in (block.h1 / block.h2, *(side / 3 for side in block.kernel)))
