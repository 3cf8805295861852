"""What a module holds: what is saved, copied and documented, and nothing else."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.torch_utils import ModelEMA

import yolo_attn

from ..tiny import NAMES, as_clip, build, each_module, inputs

FROZEN = Path(__file__).with_name("state_dict.json")  # written by `python -m tests.contract.test_state`


def shapes(name: str) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in build(name).state_dict().items()}


@each_module
def test_state_dict_is_frozen(name: str) -> None:
    """Checkpoints that users have would no longer load.

    Where the change is meant, `python -m tests.contract.test_state` writes the file anew, and CHANGELOG.md says
    how old checkpoints are to be loaded.
    """
    assert shapes(name) == json.loads(FROZEN.read_text())[name]


@each_module
def test_copies_after_a_forward(name: str) -> None:
    """Copies and checkpoints would fail or differ, because a forward left something on the module."""
    module, x = build(name), inputs(name)
    before = {k: set(vars(m)) for k, m in module.named_modules()}
    with as_clip(module):
        want = module(*x)
        twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    assert {k: set(vars(m)) for k, m in module.named_modules()} == before
    with as_clip(module):
        assert torch.equal(module(*x), want)
    for twin in twins:
        with as_clip(twin):
            assert torch.equal(twin(*x), want)


@each_module
def test_no_tensor_beside_parameters_and_buffers(name: str) -> None:
    """A tensor would stay on the old device, keep a graph alive, or be missing in a checkpoint."""
    module, x = build(name).train(), inputs(name)
    with as_clip(module):
        module(*x)
        module.eval()(*x)
    for path, each in module.named_modules():
        rest = {k: v for k, v in vars(each).items() if k not in ("_parameters", "_buffers", "_modules")}
        assert list(tensors(rest)) == [], path


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors inside of containers and plain objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple, set)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from tensors(each)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, nn.Module)) and not callable(value):
        yield from tensors(vars(value))


@each_module
def test_average_of_weights(name: str) -> None:
    """The averaged model, which is what Ultralytics saves, would not be the average of what was trained."""
    module, x = build(name).train(), inputs(name)
    ema = ModelEMA(module, decay=0.5, tau=1)
    before = copy.deepcopy(ema.ema.state_dict())
    with as_clip(module), torch.no_grad():
        module(*x)
        for p in module.parameters():
            p.add_(torch.randn_like(p))
    ema.update(module)
    decay = ema.decay(1)
    for key, value in ema.ema.state_dict().items():
        now = module.state_dict()[key]
        want = before[key].lerp(now, 1 - decay) if value.is_floating_point() else before[key]
        assert torch.equal(value, want), key
    with as_clip(ema.ema):
        assert ema.ema.eval()(*x).isfinite().all()


@each_module
def test_documented(name: str) -> None:
    """A user would not learn shapes, errors, source, or how the module differs from its paper."""
    spec = yolo_attn.get(name)
    doc = inspect.getdoc(spec.cls)
    assert all(part in doc for part in ("Args:", "Shape:", "Raises:", "References:", "Differs:")), name
    source = doc[doc.index("References:") :]
    assert spec.paper and spec.paper.removeprefix("arXiv:") in source
    assert spec.kind in yolo_attn.registry.KINDS and str(spec.year) in source
    assert [p for p in spec.parameters if p not in doc] == []


@each_module
def test_only_torch_layers(name: str) -> None:
    """Restricted loading would refuse a checkpoint, because a layer comes from another package."""
    module = build(name)
    ours = [module] if name == "TimmAttn" else module.modules()  # its checkpoints hold none of timm's classes
    for each in ours:
        assert type(each).__module__.startswith(("torch.nn.", "yolo_attn.")), type(each)


if __name__ == "__main__":
    FROZEN.write_text(json.dumps({name: shapes(name) for name in NAMES}, indent=1) + "\n")
