"""A training of 1,000 iterations at changing image sizes, which writes down what it holds on the way.

`python -m tests.long_run MODEL DATA OUT`; OUT gets a JSON with how often each size came, and every 25 iterations the
iteration, the resident memory of the process in MiB and the number of tensors that Python knows; and this number again
after each of many sizes that had not come before.
"""

from __future__ import annotations

import gc
import json
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer

from yolo_attn import clips
from yolo_attn.modules._clips import clip_modules
from yolo_attn.modules._constants import KEPT

ITERATIONS, EVERY = 1000, 25


class Enough(Exception):
    """The iterations are done."""


def main(model: str, data: str, out: str) -> None:
    sizes: dict[int, int] = {}
    notes: list[tuple[int, float, int]] = []
    others: list[int] = []
    process, acting = psutil.Process(), ExitStack()

    def count(_module: Any, inputs: tuple[Any, ...]) -> None:
        if isinstance(inputs[0], dict):  # a batch of the training
            side = inputs[0]["img"].shape[-1]
            sizes[side] = sizes.get(side, 0) + 1

    def watch(trainer: BaseTrainer) -> None:
        trainer.model.register_forward_pre_hook(count)
        if clip_modules(trainer.model):
            acting.enter_context(clips(trainer.model, 2))  # SIFA does nothing on single images

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    def note(trainer: BaseTrainer) -> None:
        done = sum(sizes.values())
        if done % EVERY == 0:
            notes.append((done, process.memory_info().rss / 2**20, tensors()))
        if done == ITERATIONS:
            for i in range(2 * KEPT + 10):  # every height and width comes early, and no size twice
                trainer.model(torch.zeros(2, 3, 32 + 32 * (i % 9), 128 + 32 * (i % 10)))
                others.append(tensors())
            raise Enough

    yolo = YOLO(model)
    yolo.add_callback("on_train_start", watch)
    yolo.add_callback("on_train_batch_end", note)
    recipe = {"epochs": 1000, "imgsz": 64, "multi_scale": 0.5, "batch": 2, "nbs": 2, "device": "cpu", "workers": 0}
    with acting, suppress(Enough):
        yolo.train(data=data, val=False, save=False, plots=False, project=str(Path(out).parent), **recipe)
    Path(out).write_text(json.dumps({"sizes": sizes, "notes": notes, "others": others}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
