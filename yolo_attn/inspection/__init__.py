"""Pre-flight check of a model: `yolo_attn.preflight`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .finding import Finding, text

__all__ = ["Finding", "preflight", "text"]


def preflight(
    model: str | os.PathLike | Mapping[str, Any],
    imgsz: int = 640,
    batch: int = 16,
    device: str | int | None = None,
    opset: int | None = None,
) -> list[Finding]:
    """Try on a model what a training, validation and export will do with it, in memory: nothing is written.

    Args:
        model: A model YAML or its name, as `yolo train` takes it (yolov8n-dattn.yaml), a checkpoint (.pt), or a model
            dictionary.
        imgsz: Size of the images in pixels.
        batch: Images of a training step.
        device: Where the training is to run, cpu or the number of a GPU; by default the first GPU if there is one.
        opset: ONNX opset that an export is to have.

    Returns:
        What was found, at least one finding for each check that could be done, in the order of the checks.

    Raises:
        ValueError: If an argument is not possible.
        FileNotFoundError: If there is no such model; a checkpoint is not downloaded.
    """
    from .. import log
    from ..patches import rehearsal
    from .finding import explained
    from .subject import subject

    on = subject(model, imgsz, batch, device, opset)
    checks = _checks()
    found: list[Finding] = []
    bar = log.progress(checks.items(), "checks")
    for name, (check, needs, otherwise) in bar:
        bar.set_description(name)
        if not needs or getattr(on, needs):
            with rehearsal.quiet():
                try:
                    found += [replace(finding, check=name) for finding in check(on)]
                except Exception as error:  # whatever a model raises: that is what was found
                    found.append(replace(explained(error, on.names, otherwise), check=name))
    return found


def _checks() -> dict[str, tuple[Callable[[Any], Iterator[Finding]], str, str]]:
    """The checks by name; what each needs from those before it; what to do about an exception that doesn't say."""
    from .building import build
    from .exporting import export
    from .memory import memory
    from .precision import half
    from .reading import read
    from .training import OTHERWISE, one_image, sizes, training
    from .versions import versions
    from .wiring import maps, rows

    return {
        "model": (read, "", "Mend the file there: brackets, colons, indentation, and UTF-8."),
        "rows": (rows, "d", OTHERWISE),
        "build": (build, "d", "Correct the row, or the constructor of its module."),
        "maps": (maps, "model", OTHERWISE),
        "training": (training, "model", OTHERWISE),
        "batch of 1": (one_image, "model", OTHERWISE),
        "memory": (memory, "saved", OTHERWISE),
        "rectangles": (sizes, "model", OTHERWISE),
        "half precision": (half, "model", OTHERWISE),
        "export": (export, "model", OTHERWISE),
        "versions": (versions, "", OTHERWISE),
    }
