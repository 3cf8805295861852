"""Watching the layers of a running model: what they took in, for `looks`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..modules._clips import ClipModule
from ..modules.residual import Residual
from .looks import Look, looks, shows


@dataclass(eq=False)
class Watched:
    """A module that is watched.

    Attributes:
        layer: Number of its layer.
        name: Where it is in the layer, if not the layer itself, and its class: blocks.1.attn DAttention.
        module: The module itself.
        silent: Whether it is in a Residual that has learned nothing yet, and doesn't change the result.
        inputs: What its last forward took in.
        size: Height and width of what it gave.
    """

    layer: int
    name: str
    module: nn.Module
    silent: bool = False
    inputs: list[Tensor] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    def look(self, number: int, followed: bool, queries: Tensor | None) -> list[tuple[str, Look]]:
        """What pixels (Q, 2) of image `number` of the batch look at, all pixels for None; with the map's or path's
        name, where there are several. The image behind it counts where it is the video's next frame."""
        images = slice(number, number + (2 if followed and isinstance(self.module, ClipModule) else 1))
        inputs = [x[images] for x in self.inputs]
        queries = None if queries is None else queries.to(inputs[0].device)
        with torch.no_grad():
            found = looks(self.module, inputs if len(inputs) > 1 else inputs[0], queries)
        if len(found) < 2 or len({type(each) for each in found}) > 1:
            names = [""] * len(found)
        elif len(found) == len(inputs):
            names = [f"map {i} of {len(found)}, {x.shape[2]} x {x.shape[3]}" for i, x in enumerate(inputs, 1)]
        else:
            names = [f"path {i} of {len(found)}" for i in range(1, len(found) + 1)]
        return list(zip(names, found, strict=True))


def showing(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The outermost modules in a layer that have something to show, with their names in it."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in layer.named_modules():
        if shows(module) and not any(name.startswith(f"{outer}." if outer else "") for outer, _ in found):
            found.append((name, module))
    return found


def watch(network: Any, layers: Collection[int] | None) -> list[Watched]:
    """Begin to watch layers of a detector, all that have something to show for None."""
    found = []
    for number, layer in enumerate(network.model):
        for name, module in showing(layer) if layers is None or number in layers else []:
            inside = name.removeprefix("fn").lstrip(".")  # of Residual, which nearly every inserted row is
            silent = isinstance(layer, Residual) and not layer.gamma.any()
            watched = Watched(number, f"{inside} {type(module).__name__}".strip(), module, silent)
            module.register_forward_hook(_note(watched))
            found.append(watched)
    return found


def _note(watched: Watched):
    def note(module: nn.Module, inputs: Sequence[Tensor | Sequence[Tensor]], output: Tensor) -> None:
        flat = [x for each in inputs for x in ([each] if isinstance(each, Tensor) else each)]
        watched.inputs = [x.detach().clone() for x in flat]  # later layers may write into them
        watched.size = (output.shape[2], output.shape[3])

    return note
