"""Reader of golden cases: inputs, states, outputs and gradients that the official implementations gave."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[2] / "shared" / "golden"))


@dataclass(frozen=True)
class Case:
    """One case: a side-car `<family>/<case>.json` with its tensors in `.safetensors`."""

    path: Path

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8"))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path.with_suffix(".safetensors"))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one kind by name: state, in, out, lossw, gin, gparam or after."""
        return {k.partition("/")[2]: v for k, v in self.tensors.items() if k.startswith(prefix + "/")}

    def inputs(self) -> dict[str, Tensor]:
        """Fresh inputs in the order of the call; those with a stored gradient require one."""
        grad = self.about["grad_inputs"]
        return {k: self.tensors[f"in/{k}"].clone().requires_grad_(k in grad) for k in self.about["inputs"]}

    def mismatches(self, got: dict[str, Tensor]) -> list[str]:
        """Lines about tensors that are not within the case's own tolerance; non-finite references are left out."""
        lines = []
        for key, value in got.items():
            want, limit = self.tensors[key], self.about["suggested_tolerance"].get(key)
            if value.squeeze().shape != want.squeeze().shape:  # a linear layer is a 1x1 convolution, 1x3x3 is 3x3
                lines.append(f"{key}: shape {tuple(value.shape)}, not {tuple(want.shape)}")
                continue
            value = value.detach().reshape(want.shape)
            if not want.is_floating_point():
                if not torch.equal(value.to(want.dtype), want):
                    lines.append(f"{key}: not equal")
                continue
            finite = want.isfinite()
            error = (value - want).abs()[finite]
            allowed = (limit["atol"] + limit["rtol"] * want.abs())[finite]
            if not bool((error <= allowed).all()):  # NaN is a mismatch too
                lines.append(f"{key}: off by {error.max():.3g}, {(error / allowed).max():.3g} times the tolerance")
        return lines


def cases() -> list[Case]:
    """All cases in $GOLDEN_DIR, by default shared/golden beside the checkout."""
    return [Case(path) for path in sorted(ROOT.glob("*/*.json"))]
