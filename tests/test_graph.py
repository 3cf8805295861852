"""Edits of graphs: every edge stays, with the new module in between."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_attn import graph


@st.composite
def models(draw) -> dict:
    """A random graph: one or several inputs, relative and absolute indices, skips, repeats, any split."""
    count = draw(st.integers(2, 20))
    rows = []
    for i in range(count):
        index = st.integers(-i, i - 1) if i else st.just(-1)
        source = draw(st.one_of(st.just(-1), index, st.lists(index, min_size=1, max_size=4)) if i else index)
        rows.append([source, draw(st.integers(1, 6)), f"M{draw(st.integers(0, 3))}", [draw(st.integers(0, 9))]])
    split = draw(st.integers(1, count - 1))
    return {"nc": 1, "backbone": rows[:split], "head": rows[split:]}


def edges(model: dict) -> list[tuple[int, int, int]]:
    """(source, layer, input number), by the identity of rows; the image is -1."""
    rows = graph.rows(model)
    return [
        (-1 if s < 0 else id(rows[s]), id(row), k)
        for i, row in enumerate(rows)
        for k, s in enumerate(graph.sources(row, i))
    ]


@given(models(), st.data())
def test_every_edge_stays_with_the_module_in_between(model: dict, data) -> None:
    """A layer would get another input than before, silently."""
    before = deepcopy(model)
    rows = graph.rows(model)
    after = data.draw(st.integers(0, len(rows) - 1))
    place, old = id(rows[after]), edges(model)
    new = graph.insert(model, after, [-1, 1, "New", []])
    assert new == after + 1 and graph.rows(model)[new][2] == "New"
    inserted = id(graph.rows(model)[new])
    assert set(edges(model)) == {(inserted if s == place else s, d, k) for s, d, k in old} | {(place, inserted, 0)}
    split = len(before["backbone"])
    assert (len(model["backbone"]), len(model["head"])) == (
        split + (after < split),
        len(rows) - split + (after >= split),
    )
    rest = [row for row in graph.rows(model) if id(row) != inserted]
    assert [row[1:] for row in rest] == [row[1:] for row in graph.rows(before)]
    assert [id(row) for row in rest] == [id(row) for row in rows]
    kinds = lambda m: [[f < 0 for f in r[0]] if isinstance(r[0], list) else r[0] < 0 for r in graph.rows(m)]  # noqa: E731
    graph.remove(model, new)
    assert model == before and kinds(model) == kinds(before)


@given(models(), st.data())
def test_several_insertions_undone_in_any_order(model: dict, data) -> None:
    """Removing what was inserted would not give the source back."""
    before = deepcopy(model)
    for _ in range(data.draw(st.integers(1, 5))):
        graph.insert(model, data.draw(st.integers(0, len(graph.rows(model)) - 1)), [-1, 1, "New", []])
    while new := [i for i, row in enumerate(graph.rows(model)) if row[2] == "New"]:
        graph.remove(model, data.draw(st.sampled_from(new)))
    assert graph.rows(model) == graph.rows(before)
    assert len(model["backbone"]) == len(before["backbone"])


@given(models(), st.data())
def test_a_layer_beside_a_merge(model: dict, data) -> None:
    """A fusion beside a Concat would fuse other maps than the Concat."""
    before = deepcopy(model)
    rows = graph.rows(model)
    after = data.draw(st.integers(0, len(rows) - 1))
    wanted = [id(rows[after]), *(-1 if s < 0 else id(rows[s]) for s in graph.sources(rows[after], after))]
    merge = [[after, *graph.sources(rows[after], after)], 1, "New", []]
    if -1 in wanted:
        with pytest.raises(ValueError, match="insert: a layer that reads the image"):
            graph.insert(model, after, merge)
    else:
        new = graph.insert(model, after, merge)
        assert [s for s, d, _ in edges(model) if d == id(graph.rows(model)[new])] == wanted
        graph.remove(model, new)
    assert model == before


@given(models(), st.data())
def test_a_layer_behind_others(model: dict, data) -> None:
    """A layer that waits for a later map would also change what comes before it, or change nothing behind it."""
    before = deepcopy(model)
    rows = graph.rows(model)
    after = data.draw(st.integers(0, len(rows) - 1))
    of = data.draw(st.integers(0, after))
    place, old, late = id(rows[of]), edges(model), {id(row) for row in rows[after + 1 :]}
    source = data.draw(st.sampled_from([-1, [of, after]]))
    new = graph.insert(model, after, [source, 1, "New", []], of=of)
    inserted = id(graph.rows(model)[new])
    want = {(inserted if s == place and d in late else s, d, k) for s, d, k in old}
    wired = [place] if source == -1 else [place, id(rows[after])]
    assert set(edges(model)) == want | {(s, inserted, k) for k, s in enumerate(wired)}
    graph.remove(model, new)
    assert model == before


def test_replace() -> None:
    """A replacement would lose its inputs, or be repeated as the old layer was."""
    model = {"backbone": [[-1, 1, "A", []], [[-1, 0], 3, "B", [1]]], "head": [[1, 1, "C", []]]}
    graph.replace(model, 1, "D", [2, {"k": 3}])
    assert model["backbone"][1] == [[-1, 0], 1, "D", [2, {"k": 3}]]
