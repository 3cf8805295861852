"""What is measured: each module at the maps of yolov8n, and whole models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..modules._clips import clip_modules, clips
from ..registry import Spec, get, specs
from ..rows import build_arguments

LEVELS = {"P5": (32, 256), "P4": (16, 128), "P3": (8, 64)}  # stride and channels, small maps first
FRAMES = 4  # of a clip
OPTIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {  # that change what a module has to compute
    "DAttention": ({}, {"pe": "table"}, {"pe": "log_cpb"}),
    "CrossFormerBlock": ({}, {"long_distance": True}),
}
INSIDE = "DAttention"  # of a module that wraps another one


@dataclass(frozen=True)
class Case:
    """A module to be measured.

    Attributes:
        spec: The module.
        arguments: Arguments of its row.
        options: Those of them that are named.
    """

    spec: Spec
    arguments: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The module with its arguments."""
        *rest, last = self.arguments or ({},)
        named = [f"{k}={v}" for k, v in last.items()] if isinstance(last, Mapping) else [str(last)]
        return " ".join([self.spec.name, *map(str, rest), *named])

    def build(self, level: str, imgsz: int, batch: int) -> tuple[nn.Module, list[Tensor]]:
        """The module at a level of yolov8n, and its inputs."""
        spec = self.spec
        others = [each for each in sorted(LEVELS) if each != level]
        levels = (
            [level] if spec.channels != "fuse" else [level] * 2 if spec.stands_for == "Concat" else [level, *others]
        )
        sizes = [-(-imgsz // LEVELS[each][0]) for each in levels]
        widths = [LEVELS[each][1] for each in levels]
        arguments = list(self.arguments)
        if not arguments:
            arguments = [INSIDE] if spec.channels == "wrap" else [*spec.example]
        if spec.channels == "out" and not any(not isinstance(each, Mapping) for each in arguments):
            stride = spec.parameters[spec.stride].default if spec.stride else 1
            arguments = [widths[0] * stride, *arguments]  # as yolov8n widens where it downsamples
        if "q_size" in spec.parameters:
            named = arguments.pop() if arguments and isinstance(arguments[-1], Mapping) else {}
            arguments.append({**({} if arguments else {"q_size": sizes[0]}), **named})
        n = list(spec.parameters.values())[1 + (spec.channels == "out")].default if spec.repeats else 1
        inputs = widths if spec.channels == "fuse" else widths[0]
        torch.manual_seed(0)
        _, _, given = build_arguments(spec, inputs, n, arguments, lambda c: c)
        module = spec.cls(*given)
        with torch.no_grad():
            for p in module.parameters():  # layers that start at zero would look at one point each
                p.add_(0.02 * torch.randn_like(p))
        number = batch * FRAMES if clip_modules(module) else batch
        return module, [torch.randn(number, c, side, side) for c, side in zip(widths, sizes, strict=True)]


def cases(modules: str | Sequence[Any] | None) -> list[Case]:
    """The cases that `bench` is asked for, each once; by default every module, with the options that matter.

    Raises:
        ValueError, TypeError: If there is no such module.
    """
    if modules is None:
        return [Case(spec, (o,) if o else ()) for spec in specs() for o in OPTIONS.get(spec.name, ({},))]
    given = [modules] if isinstance(modules, str) else modules
    if not isinstance(given, Sequence) or not given:
        raise ValueError(f"modules: a name or a list of them is needed, got {modules!r}. Write modules=SE,DAttention.")
    return list({case.name: case for case in map(_case, given)}.values())


def _case(given: Any) -> Case:
    name, *arguments = [given] if isinstance(given, str) or not isinstance(given, Sequence) else given or [given]
    case = Case(get(name), tuple(arguments))
    case.build("P5", 32, 1)  # raises where an argument is wrong
    return case


def as_clips(*modules: nn.Module) -> AbstractContextManager[None]:
    """A block in which batches are clips, for modules that look at neighbouring frames; nothing for others."""
    return clips(nn.ModuleList(modules), FRAMES) if clip_modules(nn.ModuleList(modules)) else nullcontext()
