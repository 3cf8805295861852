"""Checks: every `from` names a layer that is there, every layer is used, and the head reads the maps that it should."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from .. import graph
from ..patches import host
from ..registry import find
from ..rows import renamed
from .finding import Finding, error, ok, row, warning
from .subject import Subject

INNER = ("reduction", "c_m")  # arguments that come first and are no width of the result
FEEDS_TEXT = {"ImagePoolingAttn"}  # YOLO-World takes its output for the texts, by no `from`


def rows(subject: Subject) -> Iterator[Finding]:
    """The form of the rows, before anything is built."""
    listed, names = graph.rows(subject.d), subject.names
    if wrong := [error(what, do, row(i, names)) for i, each in enumerate(listed) for what, do in _malformed(each, i)]:
        subject.d = {}
        yield from wrong
        return
    unused = dead(subject)
    for i in unused:
        yield error(
            "no later row reads its output, so it does nothing and learns nothing",
            "Name it in the `from` of the rows that are to read it. Behind an inserted row all numbers in `from` shift "
            "by one: `yolo-attn insert` does it.",
            row(i, names),
        )
    for i, concats in _unmixed(subject).items():
        behind = ", ".join(str(source + 1) for source in concats)
        yield warning(
            f"it reads a Concat, {', '.join(map(str, concats))}, which Ultralytics' models mix by another layer first",
            f"If a row was inserted above, write {behind} in `from`.",
            row(i, names),
        )
    if not unused:
        yield ok(f"{len(listed)}, each read by a later one")


def _malformed(each: object, i: int) -> Iterator[tuple[str, str]]:
    if not isinstance(each, (list, tuple)) or len(each) != 4 or not isinstance(each[2], str):
        yield f"it is {each!r}", "Write [from, repeats, module, arguments]."
        return
    source, repeats, _, arguments = each
    indices = list(source) if isinstance(source, (list, tuple)) else [source]
    wrong = [s for s in indices if type(s) is not int or not (-i <= s < i or (i == 0 and s == -1))]
    if wrong or not indices:
        before = f"Layers 0 to {i - 1} come before it, and -1 is the last of them." if i else "Write -1, the image."
        yield f"`from` must name earlier layers, got {source!r}", before
    if type(repeats) is not int or repeats < 1:
        yield f"repeats must be a whole number from 1, got {repeats!r}", "Write 1."
    if not isinstance(arguments, (list, tuple)):
        yield f"arguments must be a list, got {arguments!r}", f"Write [{arguments!r}]."


def dead(subject: Subject) -> list[int]:
    """Numbers of the rows whose output nothing uses, in the end."""
    listed = graph.rows(subject.d)
    used = {subject.head}
    for i in range(subject.head, -1, -1):
        if i in used or listed[i][2] in FEEDS_TEXT:
            used |= {i, *graph.sources(listed[i], i)}
    return [i for i in range(len(listed)) if i not in used]


def _widths(listed: Sequence[Sequence[Any]]) -> dict[int, tuple[str, int]]:
    """Rows of registered modules whose first number may have been meant for a width: what it is taken for, and it."""
    found: dict[int, tuple[str, int]] = {}
    for i, (_, _, name, arguments) in enumerate(listed):
        wraps = (spec := find(name)) is not None and spec.channels == "wrap" and arguments
        name, arguments = (arguments[0], arguments[1:]) if wraps else (name, arguments)
        if (spec := find(name)) is None or not (key := next((k for k in INNER if k in spec.parameters), None)):
            continue
        arguments = arguments[spec.channels in ("out", "fuse") :]  # a width of the result comes first
        (value,) = renamed(arguments, host.row_parameters(spec.name), [key]) or [None]
        if isinstance(value, int):
            found[i] = key, value
    return found


def _unmixed(subject: Subject) -> dict[int, list[int]]:
    """Rows that read outputs of Concats by their numbers, and these numbers."""
    found: dict[int, list[int]] = {}
    names = subject.names
    for i, each in enumerate(graph.rows(subject.d)):
        given = each[0] if isinstance(each[0], (list, tuple)) else [each[0]]
        pairs = zip(given, graph.sources(each, i), strict=True)
        if concats := [s for f, s in pairs if f != -1 and names[s] == "Concat"]:
            found[i] = concats
    return found


def maps(subject: Subject) -> Iterator[Finding]:
    """The maps that the rows of the built model give to each other."""
    found, listed, names = host.maps(subject.model), graph.rows(subject.d), subject.names
    readers: dict[int, list[int]] = defaultdict(list)
    for i, each in enumerate(listed):
        for source in graph.sources(each, i):
            readers[source].append(i)
    for i, each in enumerate(listed):
        spec, (source, *others) = host.spec_of(subject.model.model[i]), graph.sources(each, i)
        if spec is None or spec.stands_for or others or source < 0 or found[i] != found[source]:
            continue  # no module that was put behind a layer
        for reader in (reader for reader in readers[source] if reader > i):
            yield warning(
                f"it reads layer {source} ({names[source]}) as it is before {row(i, names)}",
                f"Write {i} in its `from` if it is to see what {names[i]} makes of it.",
                row(reader, names),
            )
    for i, (key, value) in _widths(listed).items():
        source = graph.sources(listed[i], i)[0]
        if (read := found[source]) and value > read.channels:
            yield warning(
                f"its {key} of {value} is more than the {read.channels} channels of its input",
                "Rows of edited copies begin with the number of channels, those here don't: leave it out.",
                row(i, names),
            )
    strides = [read.stride for source in graph.sources(listed[-1], subject.head) if (read := found[source])]
    if any(2 * a != b for a, b in pairwise(strides)):
        yield warning(
            f"it reads maps of strides {', '.join(map(str, strides))}, and each should be twice that of the one before",
            "Correct its `from`: P3, P4 and P5 have the strides 8, 16 and 32.",
            row(subject.head, names),
        )
    else:
        yield ok(f"{names[-1]} reads stride{'s' * (len(strides) > 1)} {', '.join(map(str, strides))}")
