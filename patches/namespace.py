"""Registered classes under Ultralytics' own names, never in the place of one that is there."""

from __future__ import annotations

import warnings

from ultralytics.nn import modules, tasks

from ..registry import Spec, subscribe


def apply() -> None:
    """Publish every registered class, and those of the future as they are registered."""
    subscribe(publish)


def publish(spec: Spec) -> None:
    """Make a class reachable as ultralytics.nn.modules.NAME and as NAME in a YAML, where the name is free.

    The two are judged apart: a class that Ultralytics has but doesn't let a YAML name (CBAM) stays as it is in
    ultralytics.nn.modules, while the YAML gets ours. A class that was registered again takes its old place.
    """
    for namespace in (modules, tasks):
        present = vars(namespace).get(spec.name)
        if present is None or getattr(present, "__module__", "") == spec.cls.__module__:
            setattr(namespace, spec.name, spec.cls)
        elif namespace is tasks and not spec.full_name.startswith("yolo_attn."):
            warnings.warn(
                f"{spec.name} in a YAML is Ultralytics' own. Write {spec.full_name} for yours, or rename it.",
                stacklevel=2,
            )
