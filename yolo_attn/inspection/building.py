"""Check: the model can be built at its scale, and takes the weights of its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from .. import measure
from ..patches import host, rehearsal
from ..patches import weights as checkpoints
from .finding import Finding, error, ok, warning
from .memory import COPIES, free, gib
from .subject import Subject


def build(subject: Subject) -> Iterator[Finding]:
    """Build the model as `yolo train` does, also from the rows of a checkpoint."""
    if (needed := COPIES * _weights(subject)) > (room := free(subject.device)):
        yield error(
            f"weights, gradients and optimizer alone take {gib(needed)}, and {subject.device} has {gib(room)} free",
            "Take fewer channels, or a smaller scale.",
        )
        return
    model = host.build(subject.d)
    model.task = host.task_of(subject.d)
    if subject.source is not None:
        model.load(subject.source, verbose=False)
        placed, tensors = checkpoints.placed(model, subject.source), len(subject.source.state_dict())
        if placed < tensors:
            yield warning(
                f"{tensors - placed} of the checkpoint's {tensors} tensors have no place in what its rows build",
                "Train from the checkpoint as it was before it was fused or changed.",
            )
    subject.model = model.to(subject.device)
    if rest := subject.imgsz % subject.stride:
        subject.imgsz += subject.stride - rest
        yield warning(
            f"imgsz={subject.imgsz - subject.stride + rest} is no multiple of the stride {subject.stride}, so "
            f"Ultralytics takes {subject.imgsz}",
            f"Write imgsz={subject.imgsz}.",
        )
    yield ok(f"{measure.parameters(model):,} parameters")


def _weights(subject: Subject) -> int:
    """Bytes of the model's weights; 0 where they can't be counted without making them."""
    try:
        with rehearsal.shapes():
            model = host.build(subject.d)
        return sum(t.nbytes for t in model.state_dict().values())
    except Exception:  # whatever a module raises that can't be made of shapes alone; it is built in earnest next
        return 0
