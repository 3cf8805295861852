"""Layers find their counterparts whatever registered modules lie between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from yolo_attn import transfer
from yolo_attn.transfer import Layer, align, first_difference

stock = st.sampled_from(["Conv", "C2f", "Concat", "SPPF"]).map(Layer)
extra = st.sampled_from(["SE", "GCT", "Residual[SE]"]).map(lambda kind: Layer(kind, extra=True))
models = st.lists(stock, min_size=1, max_size=12).map(lambda layers: [*layers, Layer("Detect")])


def with_extras(draw, layers: list[Layer]) -> list[Layer]:
    result: list[Layer] = []
    for layer in layers:
        result += draw(st.lists(extra, max_size=2))
        result.append(layer)
    return result


@given(models, st.data())
def test_insertions_move_nothing(layers: list[Layer], data) -> None:
    """A stock layer would get the weights of another, because one was inserted before it."""
    target = with_extras(data.draw, layers)
    pairs = align(layers, target)
    assert [i for i, layer in zip(pairs, target, strict=True) if not layer.extra] == list(range(len(layers)))
    assert all(i is None for i, layer in zip(pairs, target, strict=True) if layer.extra)
    assert align(target, layers) == [i for i, layer in enumerate(target) if not layer.extra]


@given(models, st.data())
def test_a_second_insertion_keeps_the_first(layers: list[Layer], data) -> None:
    """A module that was trained before would lose its weights when another is added."""
    source = with_extras(data.draw, layers)
    at = data.draw(st.integers(0, len(source) - 1))
    target = [*source[:at], Layer("New", extra=True), *source[at:]]
    assert align(source, target) == [*range(at), None, *range(at, len(source))]
    assert align(source, source) == list(range(len(source)))


@given(models, models)
def test_nothing_is_guessed(one: list[Layer], other: list[Layer]) -> None:
    """Models that differ apart from insertions would be mixed up."""
    assert (align(one, other) is not None) == (one == other)


def test_a_module_in_the_place_of_a_stock_layer() -> None:
    """Layers behind a Concat that was replaced would get no weights."""
    fusion = Layer("iAFF", extra=True, stands_for="Concat")
    source = [Layer("Conv"), Layer("Concat"), Layer("C2f"), Layer("Detect")]
    assert align(source, [source[0], fusion, *source[2:]]) == [0, 1, 2, 3]
    assert align(source, [*source[:2], fusion, *source[2:]]) == [0, 1, None, 2, 3]
    assert align(source, [source[0], fusion, *source[1:]]) == [0, None, 1, 2, 3]


def test_a_module_in_the_place_of_two_stock_layers() -> None:
    """Layers behind an embedding of stride 4, in the place of two convolutions, would get no weights."""
    embed = Layer("CrossScaleEmbed", extra=True, stands_for="Conv")
    source = [Layer("Conv"), Layer("Conv"), Layer("C2f"), Layer("Conv"), Layer("Detect")]
    assert align(source, [embed, *source[2:]]) == [0, 2, 3, 4]
    assert align(source, [embed, source[2], embed, source[4]]) == [0, 2, 3, 4]
    assert align(source, [embed, *source[1:]]) == [0, 1, 2, 3, 4]
    assert align([embed, *source[2:]], source) == [0, None, 1, 2, 3]
    assert align(source, [embed, *source[3:]]) is None


def test_other_heads_belong_together() -> None:
    """A segmentation model would not start from a detection checkpoint."""
    assert align([Layer("Conv"), Layer("Detect")], [Layer("Conv"), Layer("SE", True), Layer("Segment")]) == [0, None, 1]


def test_long_models(monkeypatch) -> None:
    """Weights of a model of 10,000 rows would take hours and all memory, in a table of all pairs of layers."""
    steps = 0

    def counted(*arguments, stock=transfer._steps):
        nonlocal steps
        steps += 1
        return stock(*arguments)

    monkeypatch.setattr(transfer, "_steps", counted)
    gate, other = Layer("SE", extra=True), Layer("GCT", extra=True)
    source = [layer for _ in range(5_000) for layer in (Layer("Conv"), gate)] + [Layer("Detect")]
    assert align(source, [other, *source]) == [None, *range(10_001)]
    assert align([gate] * 10_000 + source[-1:], [gate] * 10_000 + source[-1:]) == [*range(10_001)]
    assert steps < 10 * 10_000
    monkeypatch.setattr(transfer, "MOST_STEPS", 10_000)
    assert align([gate] * 10_000 + source[-1:], [other] * 10_000 + source[-1:]) is None
    assert steps < 20 * 10_000


def test_first_difference() -> None:
    """The warning would name a row that does not differ."""
    source = [Layer("Conv"), Layer("C2f"), Layer("Detect")]
    target = [Layer("Conv"), Layer("SE", True), Layer("C3k2"), Layer("Detect")]
    assert align(source, target) is None and first_difference(source, target) == 2
    assert first_difference(source, [Layer("Conv"), Layer("Detect")]) == 1
    assert first_difference(source, [Layer("Conv"), Layer("SE", True), Layer("Detect")]) == 1  # in the place of C2f
