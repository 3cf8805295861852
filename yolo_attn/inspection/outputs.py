"""What the rows of a model take and put out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

Record = dict[int, tuple[Any, Any]]


def record(model: nn.Module, x: Tensor, found: Record | None = None) -> Record:
    """Arguments and output of every row of a model, in order, in a forward pass without gradients.

    Args:
        model: The model.
        x: Images.
        found: Where they are put; if the model fails, it holds the rows before.
    """
    found = {} if found is None else found
    layers: list[Any] = list(model.model)  # type: ignore[arg-type]
    taken: dict[int, Any] = {}

    def take(layer: Any, inputs: Any) -> None:
        taken[layer.i] = tree_map(lambda each: each, inputs)  # WorldDetect puts its results into the list of its inputs

    def give(layer: Any, inputs: Any, output: Any) -> None:
        found[layer.i] = taken[layer.i], output

    handles = [layer.register_forward_pre_hook(take) for layer in layers]
    handles += [layer.register_forward_hook(give) for layer in layers]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def first_infinite(rows: Record) -> int | None:
    """Number of the first row whose output, where it is a map, isn't finite."""
    return next((i for i, (_, y) in rows.items() if isinstance(y, Tensor) and not y.isfinite().all()), None)
