"""What is common to taking over the weights of a fork's layer.

What a forward does isn't in a checkpoint: it is told by the class's name, its tensors' names and shapes, and the layers
inside. Where one of these says that another function is computed, `Different` is raised, and nothing is taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..patches.foreign import Piece

PLAIN = {  # layers inside that say nothing of the function, or what its name says too
    *("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "BatchNorm2d", "Conv1d", "Conv2d", "Dropout", "Flatten"),
    *("GroupNorm", "Identity", "LayerNorm", "Linear", "ModuleList", "Sequential", "Softmax"),
}


class Different(ValueError):
    """A layer computes something else than ours, as far as its checkpoint shows."""


@dataclass(frozen=True)
class Kept:
    """A layer of ours that computes what a fork's did.

    Attributes:
        args: Constructor arguments, by name.
        tensors: Parameters and buffers, by our names.
        doubt: What the checkpoint doesn't tell.
        width: Output channels, where the row says them.
        repeats: Layers inside that the row's repeats count, where it passes them on.
    """

    args: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    doubt: str = ""
    width: int = 0
    repeats: int = 0


Adapter = Callable[[Piece], Kept]


def renamed(piece: Piece, *tables: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors under our names, by the first table that has a name for each, and a tensor for each of its names."""
    for table in tables:
        found, used = {}, set()
        for old, tensor in piece.tensors.items():
            begin = next((b for b in table if old == b or old.startswith(f"{b}.")), None)
            if begin is None:
                break
            found[table[begin] + old[len(begin) :]] = tensor
            used.add(begin)
        else:
            if used == set(table):
                return found
    raise Different(f"its tensors have other names than known ones ({', '.join(list(piece.tensors)[:4])}, ...)")


def same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def refuse(piece: Piece, allowed: Sequence[str] = ()) -> None:
    """Refuse layers inside that our module has no counterpart of, such as another activation."""
    if others := sorted(piece.kinds() - PLAIN - set(allowed)):
        raise Different(f"inside it has {', '.join(others)}, which this module has not")


def biases(tensors: dict[str, Tensor], *names: str) -> bool:
    """Whether any of these layers has a bias; then those without get one of zeros."""
    if not any(f"{name}.bias" in tensors for name in names):
        return False
    zero_biases(tensors, *names)
    return True


def zero_biases(tensors: dict[str, Tensor], *names: str) -> None:
    """Give each of these layers a bias of zeros, if it has none."""
    for name in names:
        weight = tensors[f"{name}.weight"]
        tensors.setdefault(f"{name}.bias", weight.new_zeros(len(weight)))


def ratio(dim: int, hidden: int, usual: int, least: int = 1) -> int:
    """A ratio r with max(dim // r, least) = hidden, the usual one if that is one."""
    for r in (usual, 16, 8, 32, 4, 2, 64, max(dim // hidden, 1)):
        if max(dim // r, least) == hidden:
            return r
    raise Different(f"its hidden width of {hidden} is none that a ratio gives of {dim}")


def value(piece: Piece, *names: str) -> Any:
    """The first of these attributes that the layer has."""
    found = next((piece.values[name] for name in names if piece.values.get(name) is not None), None)
    if found is None:
        raise Different(f"its checkpoint has no {names[0]}")
    return found
