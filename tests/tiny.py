"""Tiny instances of the registered modules, with generic parameters, and inputs that suit them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

import yolo_attn
from yolo_attn import clips
from yolo_attn.modules._clips import clip_modules

SILENT = {"iAFF": {"global_att2"}}  # children that get no gradient: unused by the official code, own_global=True apart
NAMES = [name for name in yolo_attn.names() if yolo_attn.get(name).full_name.startswith("yolo_attn.")]

each_module = pytest.mark.parametrize("name", NAMES)


def by_name(spec: yolo_attn.Spec, arguments: Sequence) -> dict:
    """Constructor arguments by name, defaults included."""
    given = dict(zip(spec.parameters, arguments, strict=False))
    return {k: given.get(k, p.default) for k, p in spec.parameters.items()}


def build(name: str, **other: object) -> nn.Module:
    """A tiny instance in eval mode whose parameters are generic: no zeros or ones left from initialisation."""
    torch.manual_seed(0)
    spec = yolo_attn.get(name)
    return generic(spec.cls(**{**by_name(spec, spec.tiny), **other}))


def generic(module: nn.Module) -> nn.Module:
    """The module in eval mode with generic parameters; wide layers get smaller ones, so that values keep their size."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.3 / max(p[0].numel() / 8, 1) ** 0.5)
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(std=0.3)
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def as_clip(module: nn.Module, frames: int = 2) -> AbstractContextManager[None]:
    """A block in which a batch is one clip, for a module that looks at neighbouring frames; nothing for others."""
    return clips(module, frames) if clip_modules(module) else nullcontext()


def inputs(name: str, size: tuple[int, int] = (7, 5), batch: int = 2) -> list[Tensor]:
    """Maps for the tiny instance: one, or as many as it fuses."""
    torch.manual_seed(1)
    spec = yolo_attn.get(name)
    dim = spec.tiny[0]
    widths = (by_name(spec, spec.tiny)["in_channels"] or [dim, dim]) if spec.channels == "fuse" else [dim]
    return [torch.randn(batch, width, *size) for width in widths]


def output_shape(name: str, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    """What the registry promises of the tiny instance."""
    spec = yolo_attn.get(name)
    stride = by_name(spec, spec.tiny)[spec.stride] if spec.stride else 1
    c2 = spec.channels(*spec.tiny) if callable(spec.channels) else spec.tiny[spec.channels == "out"]
    return (batch, c2, *(-(-n // stride) for n in size))


def detector(name: str) -> dict:
    """The model dictionary of a detector of a few layers, with the tiny instance as its last row but the head."""
    spec = yolo_attn.get(name)
    given = by_name(spec, spec.tiny)
    widths = [t.shape[1] for t in inputs(name)]
    taken = 1 + (spec.channels in ("out", "wrap")) + spec.repeats
    args = [spec.tiny[1]] if spec.channels in ("out", "wrap") else [spec.tiny[0]] if spec.channels == "fuse" else []
    rest = {k: v for k, v in list(given.items())[taken:] if k not in ("in_channels", "args")}
    sources = [2 + i for i in range(len(widths))] if spec.channels == "fuse" else -1
    repeats = spec.tiny[taken - 1] if spec.repeats else 1
    stems = [*([-1, 1, "Conv", [widths[0], 3, 2]] for _ in range(3)), *([2, 1, "Conv", [w, 1]] for w in widths[1:])]
    row = [sources, repeats, name, [*args, rest] if rest else args]
    return {
        "nc": 2,
        "scales": {"n": [1.0, 1.0, 1024]},
        "scale": "n",
        "backbone": [*stems, row],
        "head": [[[-1], 1, "Detect", ["nc"]]],
    }
