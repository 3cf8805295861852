"""Checks of constructor arguments and inputs, with one form of message."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MOST = 2**31 - 1  # of sizes: ONNX runtimes and GPU kernels count with 32 bits
LARGEST = torch.finfo(torch.float32).max


def positive(module: nn.Module, **arguments: int) -> None:
    """Raise ValueError unless every argument is a positive integer."""
    for name, value in arguments.items():
        if not _positive(value):
            raise ValueError(
                f"{type(module).__name__}: {name} must be a positive integer, got {value!r}. "
                f"Give a whole number from 1{f' to {MOST}' if isinstance(value, int) and value > MOST else ''}."
            )


def number(module: nn.Module, low: float = -LARGEST, high: float = LARGEST, **arguments: float) -> None:
    """Raise ValueError unless every argument is a number from low to high, finite in float32."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            bounds = "" if low == -LARGEST else f" from {low:g}" + (f" to {high:g}" if high < LARGEST else "")
            raise ValueError(
                f"{type(module).__name__}: {name} must be a number{bounds}, got {value!r}. Give such a number."
            )


def odd(module: nn.Module, **arguments: int) -> None:
    """Raise ValueError unless every argument is an odd positive integer."""
    positive(module, **arguments)
    for name, value in arguments.items():
        if value % 2 == 0:
            raise ValueError(f"{type(module).__name__}: {name} must be odd, got {value}. Choose one more or less.")


def boolean(module: nn.Module, **arguments: bool) -> None:
    """Raise ValueError unless every argument is True or False."""
    for name, value in arguments.items():
        if not isinstance(value, bool):
            raise ValueError(
                f"{type(module).__name__}: {name} must be True or False, got {value!r}. Write one of the two."
            )


def divisible(module: nn.Module, total: str, by: str, **values: int) -> None:
    """Raise ValueError unless values[total] is a multiple of values[by]; the message lists what would do."""
    whole, part = values[total], values[by]
    if whole % part:
        fitting = [d for d in range(1, min(whole, 64) + 1) if whole % d == 0]
        raise ValueError(
            f"{type(module).__name__}: {by} must divide {total}, got {by}={part} and {total}={whole}. "
            f"Choose one of {', '.join(map(str, fitting))}."
        )


def largest_divisor(total: int, most: int, smallest: int = 1) -> int:
    """The largest divisor that is at most `most` and leaves parts of at least `smallest`; 1 where there is none."""
    return next(n for n in range(max(min(most, total // smallest), 1), 0, -1) if total % n == 0)


def heads(module: nn.Module, dim: int, num_heads: int, head_dim: int | None, default: int = 8) -> int:
    """The number of heads, given as it is or by the channels per head; ValueError unless it divides the channels."""
    if head_dim is not None:
        positive(module, head_dim=head_dim)
        divisible(module, "dim", "head_dim", dim=dim, head_dim=head_dim)
        if num_heads not in (default, dim // head_dim):
            raise ValueError(
                f"{type(module).__name__}: give num_heads or head_dim, got {num_heads} and {head_dim} with {dim} "
                "channels. Leave one out."
            )
        return dim // head_dim
    positive(module, num_heads=num_heads)
    divisible(module, "dim", "num_heads", dim=dim, num_heads=num_heads)
    return num_heads


def one_of(module: nn.Module, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is among the choices."""
    if value not in choices:
        raise ValueError(
            f"{type(module).__name__}: {name} must be one of {', '.join(choices)}, got {value!r}. Choose one of these."
        )


def pair(module: nn.Module, **argument: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from one number or two; ValueError unless they are positive integers."""
    ((name, size),) = argument.items()
    sizes = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sizes) != 2 or not all(map(_positive, sizes)):
        raise ValueError(
            f"{type(module).__name__}: {name} must be a positive integer or two of them, got {size!r}. Give a number, "
            "or [height, width]."
        )
    return sizes[0], sizes[1]


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def same_size(module: nn.Module, *maps: Tensor) -> None:
    """Raise ValueError unless all maps have one height and width: broadcasting would hide a 1x1 map."""
    if any(m.shape[-2:] != maps[0].shape[-2:] for m in maps):
        sizes = ", ".join("x".join(map(str, m.shape[-2:])) for m in maps)
        raise ValueError(
            f"{type(module).__name__}: inputs must have the same height and width, got {sizes}. "
            "Put an nn.Upsample or a stride-2 Conv in front of one of them."
        )
