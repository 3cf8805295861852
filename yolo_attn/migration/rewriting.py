"""The rows of an edited fork's model as rows of this plugin."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import document, graph
from ..patches import host
from ..registry import Spec, find, get, meant, unknown
from ..rows import assign, literal, renamed
from .forms import DIFFERS, FORMS, SUITS, Form, suits
from .report import grouped

Said = tuple[str, str]  # level and text of a finding
FUSED = re.compile(r"(C2f|C3k2|C3k|C3|C2PSA|Conv|SPPF|SPP|Bottleneck|ResBlock|RepC3)_?(\w+)")


@dataclass(frozen=True)
class Rewritten:
    """A row as this plugin takes it.

    Attributes:
        row: The new row.
        said: What was done, and what is to be known.
        spec: The module, None for one of Ultralytics.
    """

    row: list[Any]
    said: tuple[Said, ...] = ()
    spec: Spec | None = None


def rewritten(model: graph.Model, i: int) -> Rewritten:
    """Row i of a fork's model as a row of this plugin.

    Raises:
        ValueError: If neither this plugin nor Ultralytics has such a module.
    """
    row = graph.rows(model)[i]
    name, args = row[2], [literal(arg) for arg in row[3]]
    if host.is_stock(name) or "." in name:  # a full name, which no fork writes, says itself what it means
        return Rewritten(list(row))
    spec, form = _form(name)
    own = find(name) is spec
    if (args and isinstance(args[-1], Mapping)) or (own and spec.channels not in ("same", "out")):
        return Rewritten(list(row), spec=spec)  # no fork writes that, or all write the same
    lead, rest, said = _channels(model, i, spec, args, form)
    named, idle, left = _named(form, rest)
    if own and len(lead) + len(rest) == len(args) and (note := _stays(spec, form, lead, rest, named)) is not None:
        return Rewritten(list(row), tuple([*said, ("doubt", note)] if note else said), spec)
    said += [("changed", f"its {key} of {document.flow(value)} left out, which has no effect") for key, value in idle]
    if left:
        values = ", ".join(map(document.flow, left))
        said.append(("doubt", f"{values} left out: what it means there isn't known, or it has no equal here"))
    named = form.then(named) if form.then else named
    if not own and name not in FORMS and name.lower() not in map(str.lower, spec.known_as):
        said.append(("doubt", f"{name} is taken for {spec.name} by its name alone"))
    said += [("doubt", f"the row doesn't say {what}") for key, what in form.unsaid.items() if key not in named]
    if spec.name in DIFFERS:
        said.append(("doubt", DIFFERS[spec.name]))
    new = [*row[:2], host.row_name(spec), written(spec, dict(form.defaults) | named, lead)]
    if new != list(row):
        said.insert(0, ("changed", f"{document.flow(row)} is now {document.flow(new)}"))
    return Rewritten(new, tuple(said), spec)


def written(spec: Spec, named: Mapping[str, Any], lead: Sequence[Any] = ()) -> list[Any]:
    """Arguments of a row, by position as far as they go: `lead`, the channels, and those of `named` that are no
    defaults."""
    defaults = {key: parameter.default for key, parameter in spec.parameters.items()}
    known = {key: value for key, value in named.items() if defaults.get(key, named) != value}
    if spec.channels == "same":
        return renamed([known], [], host.row_parameters(spec.name))
    if not lead:  # the width that a fusion takes by itself
        return [known] if known else []
    names = [key for key in host.row_parameters(spec.name) if key != "in_channels"][spec.channels == "out" :]
    if len(names) > 1 and names[1] in known:  # [256, 3, 2], as users know it
        known.setdefault(names[0], defaults[names[0]])
    return [*lead, *renamed([known], [], names)]


def refusal(model: graph.Model, numbers: Sequence[int]) -> str:
    """What to write in the place of rows that have no equal, by module."""
    rows = graph.rows(model)
    by_name: dict[str, list[int]] = {}
    for i in numbers:
        by_name.setdefault(str(rows[i][2]), []).append(i)
    return " ".join(f"{grouped(where)} ({name}): {_instead(name)}" for name, where in by_name.items())


def _instead(name: str) -> str:
    found = FUSED.fullmatch(name)
    inside = [s for s in [find(found[2])] if s] or meant(found[2]) if found else []
    if found and len(inside) == 1:
        shown = document.flow([-1, 1, inside[0].name, list(inside[0].example)])
        stock = found[1] if host.is_stock(found[1]) else "a row of Ultralytics"
        return f"there is no such block. Write {stock} there, and behind it {shown}."
    return unknown(name).rstrip(".?") + "."


def _form(name: str) -> tuple[Spec, Form]:
    """The module that a fork's name means, and how its rows are written."""
    if form := FORMS.get(name):
        return get(form.ours), form
    spec = find(name)
    found = [spec] if spec else meant(name)
    if len(found) != 1:
        raise ValueError(unknown(name))
    return found[0], FORMS.get(found[0].name, Form(found[0].name))


def _channels(
    model: graph.Model, i: int, spec: Spec, args: list[Any], form: Form
) -> tuple[list[Any], list[Any], list[Said]]:
    """The row's arguments as channels that stay, and the others; and what is to be said of channels that go."""
    counts = [_is_count(value) for value in args[:2]]
    if not counts or not counts[0]:
        return [], args, []
    if spec.channels != "same":
        return args[:1], args[1:], []
    first, rest = args[0], args[1:]
    source = graph.sources(graph.rows(model)[i], i)[0]
    width, scaled = widths(model)[source], _scaled(model, source)
    fits = any(way and suits(way[0], first) for way in form.arguments)
    if first != width and not (first in scaled and (first > 32 or not fits)) and (fits or first <= 64):
        return [], args, []
    said: list[Said] = []
    if fits and first <= 32 and not rest:
        said.append(("doubt", f"{first} is taken for the number of channels: it could also be an argument"))
    if width is not None and first != width and first not in scaled:
        said.append(("doubt", f"it says {first} channels, and its input has {width} in this YAML: the input's hold"))
    if len(counts) > 1 and counts[1] and (rest[0] == first or rest[0] >= 64):
        if rest[0] != first:
            said.append(("doubt", f"it says {rest[0]} channels of its output: this module keeps those of its input"))
        rest = rest[1:]
    return [], rest, said


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def widths(model: graph.Model, scaled: Callable[[int], int] = int) -> list[int | None]:
    """The width of each layer's output as its row, or one before it, says it; None where none does.

    Args:
        model: The model.
        scaled: What a width in a row is at a scale; as it is said, by default.
    """
    found: list[int | None] = []
    for i, row in enumerate(graph.rows(model)):
        of = [found[source] if 0 <= source < i else None for source in graph.sources(row, i)]
        name, args = row[2], row[3]
        form = FORMS.get(name)
        spec = get(form.ours) if form else find(name)
        if name == "Concat":
            found.append(None if None in of else sum(width for width in of if width is not None))
        elif name.startswith("nn.") or (spec and spec.channels == "same") or not (spec or host.is_stock(name)):
            found.append(of[0])
        else:
            found.append(scaled(args[0]) if args and _is_count(args[0]) else None)
    return found


def _scaled(model: graph.Model, layer: int) -> set[int | None]:
    """What the width of a layer's output is at the scales of a model."""
    scales = [s for s in (model.get("scales") or {}).values() if isinstance(s, (list, tuple)) and len(s) == 3]
    return {
        widths(model, lambda width, s=s: math.ceil(min(width, s[2]) * s[1] / 8) * 8)[layer]  # type: ignore[misc]
        for s in scales
    }


def _named(form: Form, values: Sequence[Any]) -> tuple[dict[str, Any], list[tuple[str, Any]], list[Any]]:
    """Arguments by our names, as the way of writing that suits most of them says; those without effect, by name; and
    those that nothing is known of."""

    def fitting(way: tuple[str, ...]) -> list[tuple[str, Any]]:
        return [*itertools.takewhile(lambda pair: suits(*pair), zip(way, values, strict=False))]

    pairs = max(map(fitting, form.arguments), key=len)
    named = {name: value for name, value in pairs if not name.startswith("-")}
    idle = [(name.removeprefix("-"), value) for name, value in pairs if name.startswith("-")]
    return named, idle, list(values[len(pairs) :])


def _stays(spec: Spec, form: Form, lead: list[Any], rest: list[Any], named: Mapping[str, Any]) -> str | None:
    """What is to be known of a row that has our name already, and stays as it is; None where it can't be meant so."""
    names = [*spec.parameters]
    try:
        own = assign(spec, [*lead, *rest], taken=dict.fromkeys([names[0], *names[2:3]] if spec.repeats else names[:1]))
    except TypeError:
        return None
    for name in names[1 : 1 + len(lead)]:
        own.pop(name, None)
    known = {key for way in form.arguments for key in way} | SUITS.keys()
    if not all(suits(key, value) for key, value in own.items() if key in known):
        return None
    notes = [f"{key} is {value}" for key, value in form.defaults.items() if key not in own]
    if own != dict(named):
        notes.append(f"{', '.join(map(document.flow, rest))} may mean something else")
    return f"the row stays as it is; in forks that write it so, {' and '.join(notes)}" if notes else ""


def all_rewritten(model: graph.Model, where: str) -> list[Rewritten]:
    """All rows of a fork's model as rows of this plugin.

    Args:
        model: The model.
        where: Its file, for messages.

    Raises:
        ValueError: If rows have no equal, or the model is one of YOLOv5 or YOLOv7.
    """
    if "anchors" in model:
        raise ValueError(
            f"{where} is a model of YOLOv5 or YOLOv7, which have anchors; Ultralytics' YOLOv8 has none. Put the same "
            "module into a YOLOv8: yolo-attn insert."
        )
    found: list[Rewritten] = []
    without: list[int] = []
    for i in range(len(graph.rows(model))):
        try:
            found.append(rewritten(model, i))
        except ValueError:
            without.append(i)
    if without:
        raise ValueError(f"{where}: {refusal(model, without)} Nothing was written.")
    return found
