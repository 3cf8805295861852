"""Whether a layer of Ultralytics computes what the one of that name in a checkpoint did, apart from tensors."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ..patches.foreign import Piece
from .report import shortened

IDLE = {"inplace", "momentum", "training"}  # attributes of layers of torch.nn that change nothing of a prediction
TELLING = {"add", "d"}  # attributes of Ultralytics' own layers that do: of a Bottleneck, of a Concat
SHOWN = 3  # names of layers in a message


def differences(layer: nn.Module, piece: Piece) -> list[str]:
    """What else than tensors is otherwise: another activation, a stride, a layer without tensors that has no place."""
    here = dict(layer.named_modules(remove_duplicate=False))
    where: dict[str, list[str]] = {}
    for name, old in _inside(piece):
        for what in _differences(here.get(name), old):
            where.setdefault(what, []).append(name)
    return [f"{_listed(names)}{what}" for what, names in where.items()]


def _differences(new: nn.Module | None, old: Piece) -> Iterator[str]:
    if new is None:
        if not old.tensors and not old.parts and old.kind != "Identity":
            yield f"{old.kind} in the file, and there is no such layer here"
    elif type(new).__name__ != old.kind:
        yield f"{old.kind} in the file, {type(new).__name__} here"
    else:
        ours = vars(new)
        for key in old.values.keys() & ours.keys():
            telling = key not in IDLE if old.name.startswith("torch.nn.") else key in TELLING
            if telling and ours[key] != old.values[key]:
                yield f"{key} is {old.values[key]} in the file, {ours[key]} here"


def _inside(piece: Piece, begin: str = "") -> Iterator[tuple[str, Piece]]:
    """The layer and all inside it, by their names in it."""
    yield begin, piece
    for name, part in piece.parts.items():
        yield from _inside(part, f"{begin}.{name}" if begin else name)


def _listed(names: list[str]) -> str:
    """Names of layers in front of a message: `cv1.act, cv2.act, ...: `; none of the layer itself."""
    shown = shortened(names, SHOWN)
    return f"{shown}: " if shown else ""
