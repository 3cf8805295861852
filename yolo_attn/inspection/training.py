"""Checks: training steps at a small and at the given size, with several images and with one; other sizes of image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from ..patches import rehearsal
from .finding import Finding, error, explained, ok, row, warning
from .memory import advice, counted, forecast, free, gib, mixed_precision, place
from .outputs import first_infinite, record
from .subject import Subject
from .wiring import dead

RECTANGLES = ((3, 5), (1, 4))  # in strides, height and width
OTHERWISE = "Correct the row, or the forward of its module."


def training(subject: Subject) -> Iterator[Finding]:
    """One step on two small images: loss, gradients, and what gets none."""
    model = subject.model
    frozen = [k for k, p in model.named_parameters() if not p.requires_grad and ".dfl." not in k]
    for i, names in _by_row(frozen).items():
        yield warning(
            f"it freezes {_few(names)}, and Ultralytics trains every parameter all the same",
            "Make what must not change a buffer, or train with freeze=.",
            row(i, subject.names),
        )
    images = rehearsal.images(model, 2, subject.small)
    model.zero_grad(set_to_none=True)
    loss = rehearsal.loss(model, images)
    loss.backward()
    infinite = _by_row(k for k, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
    if not loss.isfinite():
        number = first_infinite(record(model, images))
        yield error(
            f"the loss is {loss.item()} on two images of {subject.small[0]} pixels",
            "Look for a division by zero, a logarithm or a large exponential in its forward.",
            "" if number is None else row(number, subject.names),
        )
    elif infinite:
        number = max(infinite)  # backward goes from the last row to the first
        yield error(
            f"the gradient of {_few(infinite[number])} is not finite",
            "Look for a square root or a division at zero in its forward: add an epsilon.",
            row(number, subject.names),
        )
    else:
        yield ok(f"forward and backward of two images of {subject.small[0]} pixels, loss {loss.item():.3g}")
    yield from _without_gradient(subject)
    model.zero_grad(set_to_none=True)


def _without_gradient(subject: Subject) -> Iterator[Finding]:
    """Parameters that the loss doesn't depend on, in rows that are used, and that are not declared as such."""
    model = subject.model
    declared = tuple(
        f"{path}.{name}." for path, module in model.named_modules() for name in getattr(type(module), "no_gradient", ())
    )
    silent = (k for k, p in model.named_parameters() if p.grad is None and p.requires_grad)
    unused = set(dead(subject))
    if hasattr(model, "set_classes"):
        unused.add(subject.head)  # of open-vocabulary models: parts of it are trained in runs of their own
    for i, names in _by_row(k for k in silent if not f"{k}.".startswith(declared)).items():
        if i not in unused:
            yield warning(
                f"{_few(names)} gets no gradient, so it never learns",
                "Use it in forward, or delete it. Where it is meant, the class may declare it: "
                f'no_gradient = ("{names[0].partition(".")[0]}",).',
                row(i, subject.names),
            )


def one_image(subject: Subject) -> Iterator[Finding]:
    """A step with one image at imgsz, as the last batch of an epoch can have; then with more of them, for memory."""
    kept = forecast(subject)
    factor = 2 if subject.device.type == "cuda" else 1  # where most of it is in half precision
    if (needed := kept.total() / factor) > free(subject.device):
        most = max(kept, key=lambda i: kept[i])
        yield error(
            f"one image of {subject.imgsz} pixels takes {gib(needed)} in training, of {gib(free(subject.device))} that "
            f"{subject.device} has free; {gib(kept[most] / factor)} of it are kept here",
            advice(subject),
            place(most, subject),
        )
        return
    try:
        _step(subject, 1)
    except Exception as failure:  # whatever a module raises
        _step(subject, 2)  # raises where that is not for the one image
        _step(subject, 3)
        found = explained(failure, subject.names, OTHERWISE)
        when = "" if subject.batch == 1 else ", and the last batch of an epoch may have one"
        what = f"training stops at a batch of one image{when}: {found.what}"
        yield replace(found, level="error" if subject.batch == 1 else "warning", what=what)
        return
    _step(subject, 2)
    yield ok(f"forward and backward of one image of {subject.imgsz} pixels")


def _step(subject: Subject, number: int) -> None:
    """A training step at imgsz; what it keeps for the backward pass is noted."""
    model = subject.model
    images = rehearsal.images(model, number, (subject.imgsz, subject.imgsz))
    with counted(model) as saved, mixed_precision(subject.device):
        loss = rehearsal.loss(model, images)
    loss.backward()
    model.zero_grad(set_to_none=True)
    subject.saved[number] = dict(saved)


def sizes(subject: Subject) -> Iterator[Finding]:
    """Predictions on images that are no squares, as validation and prediction pad them to."""
    said = []
    for height, width in RECTANGLES:
        size = (height * subject.stride, width * subject.stride)
        said.append(f"{size[0]}x{size[1]}")
        try:
            with torch.no_grad():
                subject.model.eval()(rehearsal.images(subject.model, 1, size))
        except Exception as failure:  # whatever a module raises
            found = explained(failure, subject.names, OTHERWISE)
            do = "Take sizes from the input in forward, and interpolate what has a size of its own."
            yield replace(found, what=f"images of {said[-1]} pixels, as validation has them: {found.what}", do=do)
            return
    yield ok(f"images of {' and '.join(said)} pixels")


def _by_row(names: Iterable[str]) -> dict[int, list[str]]:
    """Parameters model.10.fn.weight by row, {10: ["fn.weight"]}."""
    found = defaultdict(list)
    for name in names:
        _, number, rest = name.split(".", 2)
        found[int(number)].append(rest)
    return found


def _few(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more of its parameters"
