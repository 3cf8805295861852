"""Check: half precision gives what float32 gives, in validation and in training with autocast."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .. import measure
from ..patches import rehearsal
from .finding import Finding, error, explained, ok, row, warning
from .outputs import Record, first_infinite, record
from .subject import Subject
from .training import OTHERWISE

LARGEST = 320  # pixels, on the CPU, which computes float16 slowly; less for more parameters than these
MANY = 20e6
SETTLING = 8  # images; a BatchNorm behind a global pooling sees one value of each
TOLERATED = 20  # times the precision of a type; rows of Ultralytics' models and of ours differ by up to 6
WIDE = "Compute what grows large, and coordinates, in float32 inside the module, x.float(), and return x.dtype."


@dataclass(frozen=True)
class Kind:
    """A way to compute in half precision.

    Attributes:
        name: As findings call it.
        use: What GPUs do in it.
        dtype: Its type.
        autocast: Whether by autocast; else weights and images are of that type.
        model: The model for it.
    """

    name: str
    use: str
    dtype: torch.dtype
    autocast: bool
    model: nn.Module

    def block(self, device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, self.dtype) if self.autocast else without_onednn()

    def cast(self, value: Any) -> Any:
        """Images or the inputs of a row as this kind takes them, in lists of their own."""

        def change(each: Any) -> Any:
            cast = not self.autocast and isinstance(each, Tensor) and each.is_floating_point()
            return each.to(self.dtype) if cast else each

        return tree_map(change, value)


@contextmanager
def without_onednn() -> Iterator[None]:
    """Convolutions by PyTorch's own code: some of oneDNN's in float16 never end, depthwise ones of few channels and
    kernels of 15 columns or more, on CPUs with AVX512-FP16."""
    backend = torch.backends.mkldnn
    before, backend.enabled = backend.enabled, False  # type: ignore[assignment]
    try:
        yield
    finally:
        backend.enabled = before


def half(subject: Subject) -> Iterator[Finding]:
    """A model in float16, as GPUs validate during a training, and one under autocast, as they train."""
    on_cpu = subject.device.type == "cpu"
    narrow = torch.bfloat16 if on_cpu else torch.float16
    model = _settled(subject)
    largest = subject.imgsz
    if on_cpu:
        side = LARGEST * min(MANY / max(measure.parameters(model), 1), 1) ** 0.5
        largest = max(int(side) // subject.stride * subject.stride, *subject.small)
    images = rehearsal.images(model, 1, [min(side, largest) for side in subject.fitting])
    want = record(model, images)
    if (number := first_infinite(want)) is not None:
        what = "a prediction in float32 gives infinity or NaN"
        yield error(what, "Look for a division by zero, a logarithm or a square root.", row(number, subject.names))
        return
    said = []
    for kind in (
        Kind("float16", "validate", torch.float16, False, copy.deepcopy(model).half()),
        Kind(f"autocast to {str(narrow).removeprefix('torch.')}", "train", narrow, True, model),
    ):
        found = _compared(kind, images, want, subject)
        if isinstance(found, Finding):
            yield found
        else:
            said.append(f"{kind.name} within {found:.1%} of float32")
    if said:
        yield ok(f"row by row {' and '.join(said)}")
    if isinstance(found, float):
        with kind.block(subject.device):
            loss = rehearsal.loss(model, rehearsal.images(model, 2, subject.small))
        loss.backward()
        if not loss.isfinite():
            yield error(f"the loss is {loss.item()} under {kind.name}", "Train with amp=False, or see to the rows.")


def _settled(subject: Subject) -> nn.Module:
    """A copy in eval mode, whose BatchNorm knows its inputs also if untrained: else maps fade from row to row."""
    model = copy.deepcopy(subject.model)
    if subject.source is None:
        for norm in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
            norm.momentum = None  # the average of all that it sees from now on
            norm.reset_running_stats()
        record(model.train(), rehearsal.images(model, SETTLING, subject.small))
    return model.eval()


def _compared(kind: Kind, images: Tensor, want: Record, subject: Subject) -> Finding | float:
    """The whole model in half precision, for errors and infinities; then each row for itself with float32's inputs, so
    that differences don't add up: what is wrong, or the largest difference."""
    rows: Record = {}
    try:
        with kind.block(subject.device):
            record(kind.model, kind.cast(images), rows)
            with torch.no_grad():
                got = {i: kind.model.model[i](*kind.cast(x)) for i, (x, _) in want.items()}  # type: ignore[index, operator]
    except Exception as failure:  # whatever a module raises
        if subject.device.type == "cpu" and "not implemented for 'Half'" in str(failure):
            return ok(f"{kind.name} not tried, because this PyTorch has it on GPUs only")
        found = explained(failure, subject.names, OTHERWISE)
        wide = [i for i, (_, y) in rows.items() if isinstance(y, Tensor) and y.dtype != kind.dtype]
        where = row(wide[0], subject.names) if wide and not kind.autocast else found.where
        return error(f"{kind.name} fails, in which GPUs {kind.use}: {found.what}", found.do, where)
    if (number := first_infinite(rows)) is not None:
        return error(f"{kind.name} gives infinity or NaN, and float32 does not", WIDE, row(number, subject.names))
    differences = {i: _difference(got[i], y) for i, (_, y) in want.items() if isinstance(y, Tensor)}
    worst = max(differences, key=lambda i: differences[i])
    if differences[worst] > TOLERATED * torch.finfo(kind.dtype).eps:
        return warning(f"{kind.name} differs from float32 by {differences[worst]:.0%}", WIDE, row(worst, subject.names))
    return differences[worst]


def _difference(got: Tensor, want: Tensor) -> float:
    return ((got.float() - want).norm() / want.norm().clamp(min=1e-9)).item()
