"""What a class declares of its parameters."""

from __future__ import annotations

import pytest
from torch import nn

import yolo_attn

from ..tiny import NAMES, by_name

OPTIONAL = {"DAttention": {"pe": "table", "q_size": 4}, "DATBlock": {"layer_scale": 0.1}}  # with more parameters


@pytest.mark.parametrize("name, options", [*((name, {}) for name in NAMES), *OPTIONAL.items()], ids=str)
def test_declared(name: str, options: dict) -> None:
    """A factor or a table would decay and go to Muon, because its class does not declare it or misspells it."""
    spec = yolo_attn.get(name)
    module = spec.cls(**{**by_name(spec, spec.tiny), **options})
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
    weights = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention, *norms)
    for owner in module.modules():
        own = {k for k, _ in owner.named_parameters(recurse=False)}
        declared = set(getattr(owner, "no_weight_decay", ()))
        assert own - declared == set() or isinstance(owner, weights), (type(owner).__name__, own - declared)
        assert all(hasattr(owner, k) for k in declared), (type(owner).__name__, declared)
