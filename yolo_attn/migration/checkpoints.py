"""Checkpoints of edited forks: the model built anew, with every weight that means the same."""

from __future__ import annotations

import ast
import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .. import document, edit, graph
from ..patches import foreign, host
from ..patches.foreign import Foreign, Piece
from ..registry import Spec, find
from .layers import Different, kept
from .likeness import differences
from .report import Finding, Migration, shortened
from .rewriting import Rewritten, all_rewritten, written

LISTED = 4  # names of tensors in a message
Tensors = dict[str, Tensor]


def migrated(path: Path, out: Path) -> Migration:
    """Migrate a checkpoint; `yolo_attn.migrate` says how."""
    source = foreign.read(path)
    d = edit.opened(copy.deepcopy(source.model.values["yaml"]))
    if not foreign.lacking(source.model):
        return Migration(None, d, _as_it_is(d, source))
    _refuse_code(path, d)
    rows, new = graph.rows(d), all_rewritten(d, str(path))
    if len(rows) != len(source.layers):
        raise ValueError(
            f"{path} has {len(source.layers)} layers, and {len(rows)} rows in its YAML. Give another file."
        )
    tensors: list[Tensors] = []
    findings: list[Finding] = []
    for i, (result, layer) in enumerate(zip(new, source.layers, strict=True)):
        row, own, said = _layer(d, result, layer, i)
        tensors.append(own)
        findings += said
        rows[i][:] = row
    try:
        model = host.build(d)
        findings += _load(model, source, tensors)
        findings += _unlike(model, source, new)
        host.maps(model)
    except Exception as error:  # whatever a layer raises
        raise ValueError(
            f"{path}: the model can't be built with this plugin: {error or type(error).__name__}"
        ) from error
    names = source.model.values.get("names")
    names = dict(enumerate(names)) if isinstance(names, (list, tuple)) else names
    if isinstance(names, dict) and names.keys() == model.names.keys():
        model.names = {i: str(name) for i, name in names.items()}
    else:
        findings.append(Finding("lost", -1, "", f"the names of its {len(model.names)} classes: they are numbers now"))
    model.task = host.task_of(d)
    for name, value in source.model.values.items():  # the text of open-vocabulary models is no weight
        if isinstance(value, Tensor) and name != "stride":
            setattr(model, name, value.float())
    foreign.save(model, source, out)
    return Migration(out, d, sorted(findings, key=lambda finding: finding.row % (len(rows) + 1)))


def _layer(d: graph.Model, result: Rewritten, layer: Piece, i: int) -> tuple[list[Any], Tensors, list[Finding]]:
    """The row of a layer, its tensors by our names, and what is to be said."""
    row, spec, old = result.row, result.spec, graph.rows(d)[i]
    said = [Finding(level, i, old[2], what) for level, what in result.said]
    if spec is None or layer.name.startswith("yolo_attn."):
        return row, dict(layer.tensors), said
    repeated = layer.kind == "Sequential" and row[1] > 1
    try:
        each = {key: kept(spec.name, piece) for key, piece in (layer.parts if repeated else {"": layer}).items()}
        first = next(iter(each.values()))
        if any(other.args != first.args for other in each.values()):
            raise Different("its repeats differ from one another")
        lead = [_unscaled_width(d, row[3][:1], first.width)] if first.width else []
        count = _unscaled_repeats(d, row[1], first.repeats) if first.repeats else row[1]
    except (Different, AttributeError, IndexError, KeyError, StopIteration, TypeError) as error:
        reason = str(error) if isinstance(error, Different) else "it is built in another way than is known"
        row, tensors, what = _lost(d, row, layer, spec, reason)
        return row, tensors, [*said, Finding("lost", i, old[2], what)]
    now = [row[0], count, row[2], written(spec, first.args, lead)]
    tensors = {f"{key}.{name}" if key else name: t for key, one in each.items() for name, t in one.tensors.items()}
    what = f"{document.flow(old)} is now {document.flow(now)}" if now != list(old) else "stays as it is"
    total = len(layer.tensors)
    said = [Finding("kept", i, old[2], f"{what}; {f'all {total} tensors kept' if total else 'it has no tensors'}")]
    return now, tensors, said + [Finding("doubt", i, old[2], first.doubt)] * bool(first.doubt)


def _scale(d: Mapping[str, Any]) -> tuple[float, float, float]:
    """Factors of depth and width, and the most channels, of a model."""
    scale = (d.get("scales") or {}).get(d.get("scale")) or (1, 1, math.inf)
    return scale[0], scale[1], scale[2]


def _unscaled_width(d: Mapping[str, Any], said: Sequence[Any], width: int) -> int:
    """The number of channels that a row has to say for this width: as it does, unless the fork didn't scale it."""
    _, factor, most = _scale(d)
    for channels in (*said, math.floor(width / factor), math.ceil(width / factor)):
        if isinstance(channels, int) and math.ceil(min(channels, most) * factor / 8) * 8 == width:
            return channels
    raise Different(f"no row gives {width} channels at this scale")


def _unscaled_repeats(d: Mapping[str, Any], said: int, repeats: int) -> int:
    """The same of repeats."""
    depth = _scale(d)[0]
    for n in (said, repeats, math.floor(repeats / depth), math.ceil(repeats / depth)):
        if (max(round(n * depth), 1) if n > 1 else n) == repeats:
            return n
    raise Different(f"no row gives {repeats} repeats at this scale")


def _lost(d: graph.Model, row: list[Any], layer: Piece, spec: Spec, reason: str) -> tuple[list[Any], Tensors, str]:
    """A layer whose function is another one: behind Residual where it can start as the identity."""
    if spec.channels == "same":
        row = [*row[:2], "Residual", [row[2], *row[3]]]
        start = f"{document.flow(row)} starts as the identity"
        return row, {}, f"{reason}. Its {_listed(list(layer.tensors))} left out; {start}"
    outputs = (layer.tensors[name] for name in ("cv2.conv.weight", "weight", "conv.weight") if name in layer.tensors)
    with contextlib.suppress(Different, StopIteration):
        row = [*row[:3], [_unscaled_width(d, row[3][:1], len(next(outputs))), *row[3][1:]]]
    what = f"{reason}. {document.flow(row)} keeps only tensors of equal name and shape"
    return row, dict(layer.tensors), what


def _load(model: Any, source: Foreign, tensors: list[Tensors]) -> list[Finding]:
    """Give the layers of a new model their tensors, and say what has no place, and what has no tensor."""
    findings, placed = [], 0
    for i, (layer, own) in enumerate(zip(model.model, tensors, strict=True)):
        state = layer.state_dict()
        fitting = {name: _shaped(own[name], want) for name, want in state.items() if name in own}
        fitting = {name: tensor for name, tensor in fitting.items() if tensor.shape == state[name].shape}
        layer.load_state_dict(fitting, strict=False)
        unplaced = [name for name in own if name not in fitting]
        bare = [name for name in state if name not in own and not name.endswith("num_batches_tracked")]
        placed += len(source.layers[i].tensors) - len(unplaced) if own else 0
        name = source.layers[i].kind
        if own and unplaced:
            findings.append(Finding("lost", i, name, f"{_listed(unplaced)} have no place, or another shape"))
        if own and bare:
            findings.append(Finding("lost", i, name, f"{_listed(bare)} of the layer here are not in the file"))
    total = len(source.model.tensors)
    return [*findings, Finding("kept", -1, "", f"{placed} of {total} tensors kept")]


def _unlike(model: Any, source: Foreign, new: Sequence[Rewritten]) -> list[Finding]:
    """Where layers of Ultralytics compute something else than those in the file, which a fork may have changed."""
    triples = zip(model.model, source.layers, new, strict=True)
    stock = [(i, layer, old) for i, (layer, old, result) in enumerate(triples) if result.spec is None]
    return [Finding("lost", i, old.kind, what) for i, layer, old in stock for what in differences(layer, old)]


def _shaped(tensor: Tensor, like: Tensor) -> Tensor:
    """A linear layer's weight as that of a 1x1 convolution."""
    return tensor[..., None, None] if tensor.ndim == 2 and like.ndim == 4 else tensor


def _listed(names: Sequence[str]) -> str:
    """Names of tensors as text: 2 tensors (conv.weight, conv.bias)."""
    shown = f" ({shortened(names, LISTED)})" if names else ""
    return f"{len(names)} tensor{'s' * (len(names) != 1)}{shown}"


def _as_it_is(d: graph.Model, source: Foreign) -> list[Finding]:
    """What is to be known of a checkpoint whose classes are all there."""
    findings = [Finding("kept", -1, "", "all of its classes are there: it loads as it is")]
    for i, (row, layer) in enumerate(zip(graph.rows(d), source.layers, strict=False)):
        spec = find(row[2])
        pieces = [*layer.parts.values()] if layer.kind == "Sequential" and layer.parts else [layer]
        if spec and not host.is_stock(row[2]) and pieces[0].name.startswith("ultralytics."):
            what = f"it is {pieces[0].name}, and a training, which builds the model anew, would take {spec.full_name}"
            findings.append(Finding("doubt", i, row[2], what))
    return findings


def _refuse_code(path: Path, d: Mapping[str, Any]) -> None:
    """Refuse what Ultralytics, or this plugin, would run or import when it builds a model from a stranger's YAML."""
    for key in ("activation", "act"):
        if d.get(key) and not _is_activation(d[key]):
            raise ValueError(f"{path}: {key} must name a layer of torch.nn, got {d[key]!r}. It would be run: refused.")
    for row in graph.rows(d):  # type: ignore[arg-type]
        for name in [row[2], *(arg for arg in row[3][:1] if (spec := find(row[2])) and spec.channels == "wrap")]:
            begin = str(name).rpartition(".")[0]
            if begin and begin not in ("nn", "torchvision.ops", "yolo_attn"):
                raise ValueError(
                    f"{path} names {name}, whose file would have to be imported: of a checkpoint, nothing is. Import "
                    "it yourself before, if you trust it."
                )


def _is_activation(text: Any) -> bool:
    """Whether a text is one call of a layer of torch.nn with numbers and the like."""
    try:
        call = ast.parse(str(text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    layer = getattr(nn, call.func.attr, None)
    plain = all(isinstance(a, ast.Constant) for a in [*call.args, *(keyword.value for keyword in call.keywords)])
    return ast.unparse(call.func.value) in ("nn", "torch.nn") and isinstance(layer, type) and plain
