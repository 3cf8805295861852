"""Check: a training step fits into the memory of the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psutil  # as Ultralytics does
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from ..patches import host, rehearsal
from .finding import Finding, ok, row
from .subject import Subject

COPIES = 5  # of each parameter: itself, its gradient, two moments of AdamW, the moving average
SHARE = 0.7  # of the free memory that it may fill: in trainings on the CPU the process took up to 1.4 times as much
LOSS = -1  # the row that what the loss keeps is put down to


def free(device: torch.device) -> int:
    """Bytes that a process could take on a device now."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.3g} MiB"


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """As Ultralytics trains on a device: with autocast on CUDA, in float32 on the CPU."""
    return torch.autocast("cuda", torch.float16) if device.type == "cuda" else nullcontext()


@contextmanager
def counted(model: nn.Module) -> Iterator[Counter[int]]:
    """Bytes of the tensors that are kept for a backward pass meanwhile, by row; parameters and buffers don't count."""
    known = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    saved: Counter[int] = Counter()
    at: list[Any] = [LOSS]

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known.add(storage._cdata)
            saved[at[0]] += storage.nbytes()
        return tensor

    def enter(layer: nn.Module, _inputs: object) -> None:
        at[0] = layer.i

    def leave(_layer: nn.Module, _inputs: object, _output: object) -> None:
        at[0] = LOSS

    handles = [
        handle
        for layer in model.model  # type: ignore[union-attr]
        for handle in (layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave))
    ]
    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield saved
    finally:
        for handle in handles:
            handle.remove()


def forecast(subject: Subject) -> Counter[int]:
    """What one image at imgsz would keep, found with shapes alone; nothing where a module can't do with these."""
    try:
        with rehearsal.shapes():
            model = host.build(subject.d).train()
            with counted(model) as saved:
                model(torch.zeros(1, model.yaml.get("channels", 3), subject.imgsz, subject.imgsz))
    except Exception:  # whatever a module raises that wants values
        return Counter()
    return saved


def memory(subject: Subject) -> Iterator[Finding]:
    """Memory of a training step, from what one with a single image keeps and what each further image adds."""
    if len(subject.saved) < 2:
        return
    few, more = sorted(subject.saved)
    each = {i: max(size - subject.saved[few][i], 0) for i, size in subject.saved[more].items()}
    image = sum(each.values())
    once = max(sum(subject.saved[few].values()) - few * image, 0)
    once += COPIES * sum(p.nbytes for p in subject.model.parameters())
    needed, room = once + subject.batch * image, free(subject.device)
    most = max(each, key=lambda i: each[i])
    what = (
        f"a step with {subject.batch} images of {subject.imgsz} pixels takes about {gib(needed)} for tensors, "
        f"of {gib(room)} that {subject.device} has free; most is kept by "
        f"{place(most, subject)}, {gib(each[most])} an image"
    )
    if needed <= SHARE * room:
        yield ok(what)
        return
    fitting = int((SHARE * room - once) // image)
    yield Finding(
        "warning" if needed <= room else "error", "", what, f"Take batch={fitting}." if fitting else advice(subject)
    )


def place(number: int, subject: Subject) -> str:
    return "the loss" if number == LOSS else row(number, subject.names)


def advice(subject: Subject) -> str:
    return f"Take imgsz={max(subject.imgsz // 2 // 32 * 32, 32)}, or attention at a row of larger stride."
