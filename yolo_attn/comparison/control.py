"""The control of a comparison: the candidate with a plain convolution block in the place of its attention.

Attention rows also add parameters. A control has as many, in the same places and from the same start, so that what a
candidate gains over it is not gained by size alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import graph
from ..document import PARTS
from ..patches import host
from ..registry import get
from ..transfer import Layer, align, first_difference
from .fit import TOLERANCE, Block, fit


@dataclass(frozen=True)
class _Built:
    """What is asked of a model: its rows, and of each layer what `align` needs, the module, and what it puts out."""

    rows: list[graph.Row]
    layers: list[Layer]
    modules: Sequence[nn.Module]
    maps: list[host.Map | None]
    channels: int

    @classmethod
    def of(cls, d: Mapping[str, Any]) -> _Built:
        with torch.random.fork_rng(devices=[]):
            model = host.build(d)
        return cls(graph.rows(dict(d)), host.layers(model), model.model, host.measure(d), d.get("channels", 3))

    def size(self, layer: int) -> int:
        """Number of parameters of a layer."""
        return sum(p.numel() for p in self.modules[layer].parameters())

    def map(self, layer: int) -> host.Map:
        """What a layer puts out, or, as layer -1, the image."""
        found = host.Map(1, self.channels) if layer < 0 else self.maps[layer]
        if found is None:
            raise ValueError(
                f"control: layer {layer} ({self.layers[layer].kind}) puts out no single map, and a convolution gives "
                "one. Leave the model out of control=."
            )
        return found


def control(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    """The candidate with a plain convolution block for each row that is new against the baseline.

    A block has as many parameters as the row, within 2 %. It starts as the row does: behind a gamma of zero where the
    row is residual or starts as the identity, and beside a stock layer whose weights the row takes over. A row that
    fuses maps of one size gives way to a Concat and a block. One of less than 4 C + 5 parameters, which is the smallest
    block behind a gamma, gives way to nothing, or to the stock layer in whose place it is.

    Args:
        baseline: Model dictionary, as Ultralytics reads it from a YAML, with scale.
        candidate: The baseline with registered modules inserted or in the place of layers, at any scale.

    Returns:
        The candidate's dictionary with other rows; None if these are the baseline's, which is then its own control.

    Raises:
        ValueError: If the candidate has no new rows, differs from the baseline in others, or no block fits.
    """
    stock, model = _Built.of(baseline), _Built.of(candidate)
    name = candidate.get("yaml_file") or "the candidate"
    kept = align(stock.layers, model.layers)
    if kept is None:
        row = first_difference(stock.layers, model.layers)
        raise ValueError(
            f"control: {name} must be the baseline with registered modules inserted or in the place of layers, and "
            f"differs otherwise from row {row} ({model.layers[row].kind}) on. Leave it out of control=."
        )
    sources = {j: i for j, i in enumerate(kept) if model.layers[j].extra and not _alike(stock, i, model.layers[j])}
    if not sources:
        raise ValueError(
            f"control: {name} has no inserted or replaced rows, which a control could exchange. "
            "Leave it out of control=."
        )
    d = {**candidate, **{part: [copy.deepcopy(list(row)) for row in candidate[part]] for part in PARTS}}
    for layer in sorted(sources, reverse=True):  # an exchange moves later rows only
        _exchange(d, model, layer, stock, sources[layer])
    if _meaning(d) == _meaning(baseline):
        return None
    host.measure(d)
    return d


def _alike(stock: _Built, i: int | None, layer: Layer) -> bool:
    return i is not None and stock.layers[i].kind == layer.kind


def _meaning(d: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of a model with their sources as layer numbers."""
    return [[graph.sources(row, i), *row[1:]] for i, row in enumerate(graph.rows(dict(d)))]


def _exchange(d: dict[str, Any], model: _Built, layer: int, stock: _Built, source: int | None) -> None:
    """Put the control of one row of a model in its place; `source` is the stock layer that was there before."""
    row, size, module = graph.rows(d)[layer], model.size(layer), model.modules[layer]
    first = row[0] if isinstance(row[0], int) else row[0][0]
    inputs = [model.map(i) for i in graph.sources(row, layer)]
    before, after = inputs[0], model.map(layer)
    small, same = _is_small(size, before.channels), before == after
    inherited = source is not None and _inherits(module, stock.modules[source])
    spec = host.spec_of(module)
    what = f"layer {layer} ({model.layers[layer].name})"
    if source is not None and (small or inherited) and stock.map(source).stride == after.stride:
        _, repeats, kind, args = copy.deepcopy(stock.rows[source])
        graph.replace(d, layer, kind, args, repeats)
        rest = size - stock.size(source)
        if inherited and not _is_small(rest, after.channels):
            graph.insert(d, layer, [-1, *_residual(what, rest, after)])
    elif small and same:
        graph.remove(d, layer)
    elif spec is not None and spec.identity and same:
        row[:] = [first, *_residual(what, size, after)]
    elif len(inputs) > 1 and len({each.stride for each in inputs}) == 1:
        met = host.Map(before.stride, sum(each.channels for each in inputs))
        graph.replace(d, layer, "Concat", [1])
        graph.insert(d, layer, [-1, *_plain(what, size, met, after)])
    else:
        row[:] = [first, *_plain(what, size, before, after)]


def _is_small(size: int, dim: int) -> bool:
    """Whether a size is below that of the smallest block behind a gamma."""
    return size < dim + Block().parameters(dim, dim)


def _inherits(module: nn.Module, stock: nn.Module) -> bool:
    """Whether a module takes over all weights of the stock layer in whose place it is."""
    own, known = ({k: v.shape for k, v in each.state_dict().items()} for each in (module, stock))
    return bool(known) and known.items() <= own.items()


def _residual(what: str, size: int, at: host.Map) -> list[Any]:
    """Repeats, name and arguments of a row that starts as the identity; gamma counts."""
    _, name, args = _plain(what, size - at.channels, at, at)
    return [1, host.row_name(get("Residual")), [name, *args]]


def _plain(what: str, size: int, before: host.Map, after: host.Map) -> list[Any]:
    """Repeats, name and arguments of a row with a block between two maps."""
    stride, c1, c2 = max(after.stride // before.stride, 1), before.channels, after.channels
    block = fit(size, c1, c2, stride)
    count = block.parameters(c1, c2)
    if abs(count - size) > TOLERANCE * size:
        raise ValueError(
            f"control: {what} must have as many parameters as some plain convolution block from {c1} to {c2} channels "
            f"of stride {stride}, got {size}, and the nearest has {count}. Leave the model out of control=."
        )
    h1, h2, (height, width) = block
    args = {"hidden": [h1, h2], "kernel_size": height if height == width else [height, width]}
    args |= ({"stride": stride} if stride > 1 else {}) | ({"dim_out": c2} if c2 != c1 else {})
    return [1, host.row_name(get("PlainConv")), [args]]
