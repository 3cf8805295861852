"""Time, memory and work of whole models beside the stock one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..measure import MIB, flops, parameters, predicting
from ..patches import host, lookup, rehearsal
from .memory import peak
from .timing import Row, Setting

STOCK = "yolov8n.yaml"


def named(models: str | Sequence[str] | None) -> list[str]:
    """The YAMLs that `bench` is asked for, the stock one first; by default every packaged detector at its scale.

    Raises:
        ValueError, TypeError, FileNotFoundError: If there is no such file, or no model in it. Other errors are those of
            Ultralytics, which builds it.
    """
    if models is None:
        found = sorted(path.name.replace("yolov8-", "yolov8n-") for path in lookup.CFG.glob("yolov8-*.yaml"))
        models = [name for name in found if host.task_of(host.load_yaml(name)) == host.task_of(host.load_yaml(STOCK))]
        return [STOCK, *models]
    given = [models] if isinstance(models, str) else models
    if not isinstance(given, Sequence) or not given:
        raise ValueError(f"models: a YAML or a list of them is needed, got {models!r}. Write models=yolov8n-se.yaml.")
    for name in given:
        if Path(str(name)).suffix not in (".yaml", ".yml"):
            raise ValueError(f"models: a model YAML is needed, got {name!r}. Write models=yolov8n-se.yaml.")
        host.build(host.load_yaml(name))
    return list(dict.fromkeys([STOCK, *given]))


def rows(names: Sequence[str], setting: Setting) -> list[Row]:
    """The figures of models, each with its ratios to the first one in the same rounds.

    Forward is a prediction, by the fused model; step is forward, loss and backward in training mode, without the
    optimizer; build makes the model from its dictionary.
    """
    dictionaries = {name: host.load_yaml(name) for name in names}
    trained = {name: host.build(d).to(setting.device) for name, d in dictionaries.items()}
    for name, model in trained.items():
        model.task = host.task_of(dictionaries[name])  # as Ultralytics' YOLO sets it
    found: dict[str, Row] = {
        name: {"name": name, "parameters": parameters(model), "gflops": flops(model, setting.imgsz)}
        for name, model in trained.items()
    }
    size = (setting.imgsz, setting.imgsz)
    images = rehearsal.images(trained[names[0]], setting.batch, size)
    calls = {
        "forward": {
            n: partial(_forward, predicting(m).to(setting.type), images.to(setting.type)) for n, m in trained.items()
        },
        "step": {
            n: partial(_step, rehearsal.prepared(m), rehearsal.labelled(m, images), setting) for n, m in trained.items()
        },
        "build": {n: partial(host.build, d) for n, d in dictionaries.items()},
    }
    for mode, each in calls.items():
        for name, call in each.items():
            call()  # what is made once
            if mode != "build" and (taken := peak(call, setting.device)) is not None:
                found[name][f"{mode}_peak_mib"] = taken / MIB
        for name, latency in setting.times(each).items():
            found[name] |= {
                f"{mode}_ms": latency.median_ms,
                f"{mode}_iqr_ms": latency.iqr_ms,
                f"{mode}_ratio": latency.ratio,
            }
    return list(found.values())


def _forward(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def _step(model: nn.Module, batch: dict[str, Any], setting: Setting) -> None:
    with setting.autocast():
        loss = model(batch)[0].sum()
    torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
