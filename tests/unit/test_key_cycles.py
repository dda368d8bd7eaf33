"""Objects that refer to each other in cycles: one key each, in time that grows with what is there."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any
from xml.dom import minidom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.deep import on_a_deep_stack
from s3kv_flow.keys.token import Encoder


class City:
    def __init__(self, name: Any) -> None:
        self.name = name
        self.roads: Any = []


def token(value: Any) -> bytes:
    return on_a_deep_stack(lambda: Encoder().token(value))


def all_joined(names: Any, container: Callable[[list[City]], Any] = list) -> list[City]:
    cities = [City(name) for name in names]
    for city in cities:
        others = [other for other in cities if other is not city]
        if container is not list:
            random.shuffle(others)
        city.roads = container(others)
    return cities


def by_name(cities: list[City]) -> dict[Any, City]:
    return {city.name: city for city in cities}


@pytest.mark.parametrize("container", [list, set, by_name, dict.fromkeys, frozenset])
def test_a_graph_has_one_key_whatever_keeps_it(container: Any) -> None:
    seen = set()
    for _ in range(3):
        cities = all_joined(range(60), container)
        seen.add((token(cities), token(cities[0]), token({"all": cities, "first": cities[0]})))
    assert len(seen) == 1
    cities = all_joined(range(60), container)
    cities[41].name = "other"
    assert not {token(cities), token(cities[0])} & {*next(iter(seen))}


@pytest.mark.parametrize("container", [set, frozenset, dict.fromkeys])
def test_a_set_of_what_refers_to_each_other_has_no_order(container: Any) -> None:
    def cities() -> Any:
        made = all_joined("abcdefghij")
        random.shuffle(made)
        return container(made)

    assert token(cities()) == token(cities()) == token(cities())


def test_the_order_of_attributes_and_names_does_not_count() -> None:
    def pair(first: str, second: str) -> Any:
        cities = all_joined("abc")
        held = {"one": cities[0], "two": cities[1]}
        return {first: held[first], second: held[second]}

    assert token(pair("one", "two")) == token(pair("two", "one"))
    one, other = City("a"), City("a")
    one.__dict__.update(x=one, y=[one])
    other.__dict__.update(y=[other], x=other)
    assert token(one) == token(other)


def test_one_road_more_or_to_another_place_counts() -> None:
    def ring(size: int, *roads: tuple[int, int]) -> City:
        cities = [City(0) for _ in range(size)]
        for place, city in enumerate(cities):
            city.roads = [cities[place - 1]]
        for start, end in roads:
            cities[start].roads.append(cities[end])
        return cities[0]

    tokens = [token(ring(size)) for size in range(1, 9)]
    tokens += [token(ring(6, (start, end))) for start in range(6) for end in range(6)]
    assert len(set(tokens)) == len(tokens)
    assert token(ring(6, (2, 4))) == token(ring(6, (2, 4)))


def test_the_key_of_an_argument_does_not_depend_on_the_others() -> None:
    cities, encoder = all_joined("abc"), Encoder()
    assert [encoder.token(city) for city in cities] == [Encoder().token(city) for city in cities]


def test_a_document_has_a_key() -> None:
    def document(rows: int) -> Any:
        return minidom.parseString("<table>" + "<row><cell/>text</row>" * rows + "</table>")

    assert token(document(300)) == token(document(300))
    assert token(document(300)) != token(document(301))


def test_what_cannot_be_put_in_order_is_refused_in_bounded_time() -> None:
    with pytest.raises(UnhashableArgumentError, match="look alike and refer to each other"):
        token(all_joined([0] * 12, set))


#: Of each object: what keeps the others, a leaf, and which others it refers to.
Graph = list[tuple[str, int, list[int]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 8))
    others = st.lists(st.integers(0, size - 1), max_size=4, unique=True)
    kinds = st.sampled_from(["attributes", "list", "set", "names", "keys"])
    return [(draw(kinds), draw(st.integers(0, 1)), draw(others)) for _ in range(size)]


def build(graph: Graph, order: random.Random) -> list[City]:
    """Make the objects of a graph, and what has no order in any."""
    cities = [City(leaf) for _, leaf, _ in graph]
    for city, (kind, _, places) in zip(cities, graph):
        held = [(f"to {number}", cities[place]) for number, place in enumerate(places)]
        if kind == "list":
            city.roads = [other for _, other in held]
            continue
        order.shuffle(held)
        if kind == "attributes":
            vars(city).update(held)
        elif kind == "set":
            city.roads = {other for _, other in held}
        else:
            city.roads = dict(held) if kind == "names" else {other: name for name, other in held}
    return cities


def test_what_looks_alike_in_a_set_counts_alike_where_it_is_met_again() -> None:
    def key(seed: int, last: int = 0) -> bytes:
        graph: Graph = [("list", 0, []) for _ in range(7)]
        graph[1] = "set", 0, [0, 1, 2, 6]
        graph[2] = graph[6] = "attributes", 0, [1]
        graph[5] = "attributes", last, []
        return token(build(graph, random.Random(seed)))

    assert len({key(seed) for seed in range(30)}) == 1
    assert key(0) != key(0, last=1)


@given(graphs(), st.randoms(use_true_random=False), st.booleans())
def test_any_graph_has_one_key_and_another_when_a_leaf_changes(
    graph: Graph, order: random.Random, whole: bool
) -> None:
    def key(graph: Graph) -> bytes:
        cities = build(graph, order)
        return token(cities if whole else cities[0])

    before = key(graph)
    copied = pickle.loads(pickle.dumps(build(graph, order)))
    assert {key(graph), key(graph), token(copied if whole else copied[0])} == {before}
    kind, _, places = graph[0]
    assert key([(kind, 2, places), *graph[1:]]) != before
