"""Many values, which are encoded as columns, count as they do one by one."""

from __future__ import annotations

import array as arrays
import datetime
import decimal
import enum
import pathlib
import pickle
import random
import struct
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow.keys import columns
from s3kv_flow.keys.token import PIECE, Encoder
from tests.property.values_of_keys import (
    DISTINCT,
    Config,
    Pair,
    Plain,
    hashables,
    same,
    scalars,
    token,
    values,
)


class Name(str):
    """Equal to its text, and another type."""

    __slots__ = ()


class Level(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    A = "a"


numbers_or_none = st.integers(-2, 2) | st.none()
cells = st.sampled_from(
    [
        st.integers(),
        st.floats(),
        st.text(alphabet="a\0\ud800", max_size=2),
        st.booleans(),
        numbers_or_none,
        st.lists(st.integers(0, 1), max_size=3),
        st.lists(st.integers(0, 1) | st.booleans(), min_size=2, max_size=2),
        st.tuples(st.floats(), st.text(max_size=1)),
        st.fixed_dictionaries({"x": st.integers(0, 1)}, optional={"y": numbers_or_none}),
        st.dictionaries(st.integers(0, 9), st.integers(0, 1), max_size=2),
        st.dictionaries(st.text(alphabet="ab", max_size=2), st.binary(max_size=1), max_size=2),
        st.lists(st.fixed_dictionaries({"z": st.booleans()}), max_size=2),
        st.dates() | st.none(),
        st.sets(st.integers(0, 3)),
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> list[Any]:
    """Records, as they come from JSON: some fields are missing, and stand in another order."""
    always = draw(st.dictionaries(st.sampled_from("abcd"), cells, max_size=4))
    optional = draw(st.dictionaries(st.sampled_from("efg"), cells, max_size=2))
    rows = draw(st.lists(st.fixed_dictionaries(always, optional=optional), min_size=9, max_size=40))
    if draw(st.booleans()):
        rows = [dict(draw(st.permutations(list(row.items())))) for row in rows]
    return rows


def changed(value: Any, data: st.DataObject) -> Any:
    """Give a copy with one thing changed, somewhere inside, perhaps for an equal one."""
    if isinstance(value, (list, tuple)) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        parts = list(value)
        parts[place : place + 1] = data.draw(
            st.sampled_from([[], [changed(parts[place], data)], [parts[place]] * 2])
        )
        return type(value)(parts)
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(list(value)))
        return {**value, name: changed(value[name], data)}
    return data.draw(
        st.sampled_from([value, list(value) if isinstance(value, tuple) else value]) | values
    )


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False)
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)


@st.composite
def plain_tables(draw: st.DrawFn) -> list[Any]:
    """Nothing but what JSON knows."""
    rows = draw(st.lists(plain_values, min_size=1, max_size=12))
    return rows * draw(st.integers(12 // len(rows) + 1, 30))


@given(tables() | plain_tables(), st.data())
def test_one_change_in_a_table_changes_its_token(table: list[Any], data: st.DataObject) -> None:
    for ours in (table, named(table)):
        other = changed(ours, data)
        assert (token(ours) == token(other)) == same(ours, other)
        assert (token({"t": ours}) == token({"t": other})) == same(ours, other)


def named(table: list[Any]) -> dict[str, Any]:
    return {f"row {place}": row for place, row in enumerate(table)}


#: Pairs that a text or a packed form takes for one.
ALIKE = [
    ([1], (1,)),
    (b"x", bytearray(b"x")),
    (b"x", "x"),
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    (None, float("nan")),
    ("null", None),
    ("1", 1),
    (2**63, float(2**63)),
    (2**64, float(2**64)),
    ("\udc80", "\x80"),
    ([], ()),
    ({}, []),
    ({"a": 1}, {"a": True}),
    ({"a": 1}, {Name("a"): 1}),
    ({"1": 0}, {1: 0}),
    ("a", Name("a")),
    ("a", Word.A),
    ("a", np.str_("a")),
    ("", b""),
    (1, Level.ONE),
    (1.0, np.float64(1.0)),
    ([[1], 2], [1, [2]]),
    ([float("nan")], [float("inf")]),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
@pytest.mark.parametrize("size", [9, 20, 100, 3000])
def test_what_looks_alike_when_packed_differs(one: Any, other: Any, size: int) -> None:
    for around in (
        lambda held: held,
        lambda held: [held],
        lambda held: {"x": {"y": held}, "z": None},
    ):
        rows = [{"n": n, "held": around(1)} for n in range(size)]
        for place in (0, size // 2, size - 1):
            ours, theirs = list(rows), list(rows)
            ours[place] = {"n": place, "held": around(one)}
            theirs[place] = {"held": around(other), "n": place}
            assert token(ours) != token(theirs)
            assert token(named(ours)) != token(named(theirs))
            assert token(ours) == token([dict(reversed(list(row.items()))) for row in ours])


@pytest.mark.parametrize(("one", "other"), ALIKE)
@pytest.mark.parametrize("among", ["text", 1.5, 1, None, (0,), [0]], ids=repr)
def test_what_looks_alike_differs_in_a_column_of_any_kind(one: Any, other: Any, among: Any) -> None:
    for size in (9, 100, 3000):
        for place in (0, 1, size // 2, size - 1):
            ours, theirs = [among] * size, [among] * size
            ours[place], theirs[place] = one, other
            assert token(ours) != token(theirs)
            assert token(named(ours)) != token(named(theirs))


@pytest.mark.parametrize("letter", ["a", "é", "д", "\ud800"], ids=ascii)
def test_no_text_in_a_long_list_grows(letter: str) -> None:
    texts = [f"{letter} {number}" for number in range(5000)]
    before = list(map(sys.getsizeof, texts))  # counts the UTF-8 that a text keeps
    token(texts)
    token(tuple(texts))
    assert list(map(sys.getsizeof, texts)) == before
    page = letter * 100_000
    size = sys.getsizeof(page)
    token({"pages": [page, page], "of": 1})
    assert sys.getsizeof(page) == size


def buffers(size: int) -> dict[str, Any]:
    return {
        "text": "x" * size,
        "text beyond ASCII": "д" * (size // 2),
        "texts": ["x" * (size // 10) for _ in range(10)],
        "a column of pages": ["x" * (size // 300) for _ in range(300)],
        "urls, titles and pages": [
            text for n in range(100) for text in (f"/{n}", f"title {n}", "x" * (size // 100))
        ],
        "pages in records": [
            {"url": f"/{n}", "page": "x" * (size // 100) if n % 7 == 3 else ""} for n in range(700)
        ],
        "pages by name": {f"/{n}": "x" * (size // 100) if n % 5 == 2 else "" for n in range(500)},
        "texts with NULs": ["x\0\udc80" * (size // 50) for _ in range(10)],
        "bytes": bytes(size),
        "bytearray": bytearray(size),
        "memoryview": memoryview(bytes(size)),
        "array": arrays.array("d", bytes(size)),
    }


@pytest.mark.parametrize("kind", buffers(0))
def test_what_is_large_is_hashed_without_a_copy_of_it(kind: str) -> None:
    value = buffers(40_000_000)[kind]
    tracemalloc.start()
    try:
        token(value)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("size", [65, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_in_pieces_or_at_once_is_the_same(size: int) -> None:
    def of_bytes(payload: bytes, kind: bytes = b"B") -> bytes:
        text = kind + struct.pack("<Q", len(payload)) + payload
        return Encoder().node(b"long", text)

    data = bytes(number % 251 for number in range(size))
    text = "aд\0\udc80" * (size // 4)
    assert token(data) == of_bytes(data)
    assert token(text) == of_bytes(text.encode("utf-8", "surrogatepass"), b"S")
    assert token("x" * size) == of_bytes(b"x" * size, b"S")
    assert token(bytearray(data)) == Encoder().node(b"bytearray", of_bytes(data))
    numbers = arrays.array("q", range(size))
    assert token(numbers) == Encoder().node(b"array", token("q"), of_bytes(numbers.tobytes()))
    for view in (memoryview(data), memoryview(data)[::-1], memoryview(numbers)):
        parts = token(view.format), token(view.shape), of_bytes(view.tobytes())
        assert token(view) == Encoder().node(b"memoryview", *parts)


def test_a_long_text_among_others_counts_by_its_characters() -> None:
    size = columns.PIECE_CHARACTERS
    for letter in ("д", "\ud800", "\0"):
        texts = [letter * (size + number) for number in range(10)]
        assert token(texts) == token([str(one) for one in texts])
        for place in (0, 9):
            for changed in (texts[place][:-1], texts[place][:-1] + "\ufffd", texts[place] + "\0"):
                others = list(texts)
                others[place] = changed
                assert token(others) != token(texts)
        assert token([*texts[:8], texts[8] + texts[9]]) != token(texts)


def test_dicts_count_by_what_they_hold_and_not_by_how_it_is_kept() -> None:
    renamed: dict[Any, Any] = {f"k{n}": [n] for n in range(10)}
    renamed[1] = 2
    del renamed[1]
    fresh = {f"k{n}": [n] for n in range(10)}
    for wrap in (lambda value: value, lambda value: [value] * 10, lambda value: [value] * 100):
        assert token(wrap(renamed)) == token(wrap(fresh))

    objects = [Plain(b"x") for _ in range(20)]  # they keep what their attributes lie in
    others = [Plain(bytearray(b"x")) for _ in range(20)]
    attributes = [vars(one) for one in objects]
    assert token(attributes) != token([vars(one) for one in others])
    assert token(attributes) == token([dict(one) for one in attributes])


def test_a_wide_dict_counts_by_value_however_it_is_written() -> None:
    for size in (9, 5000, 20_000):  # beyond some size it is written in pieces
        wide = {f"k{n}": {"n": n, "text": "t" * 30} for n in range(size)}
        turned = dict(reversed(list(wide.items())))
        assert token(wide) == token(turned)
        turned["k3"] = {"n": 3, "text": "t" * 29}
        assert token(wide) != token(turned)
    long = {f"k{n}": "x" * 1_000_000 for n in range(10)}
    assert token(long) == token(dict(reversed(list(long.items()))))
    assert token(long) != token({**long, "k9": "x" * 999_999})


@given(tables())
def test_neither_order_of_names_nor_sharing_counts_in_a_table(table: list[Any]) -> None:
    import copy

    turned = [dict(reversed(list(row.items()))) for row in copy.deepcopy(table)]
    assert token(table) == token(turned)
    assert token(table * 2) == token(table + turned)
    assert token([table] * 9) == token([copy.deepcopy(table) for _ in range(9)])


@given(
    st.dictionaries(st.integers(-9, 99), st.integers(0, 1), min_size=9, max_size=12)
    | st.dictionaries(hashables, st.integers(0, 1), min_size=9, max_size=12),
    st.data(),
)
def test_large_dicts_count_by_value(value: dict[Any, int], data: st.DataObject) -> None:
    other = dict(data.draw(st.permutations(list(value.items()))))
    assert token(value) == token(other)
    name = data.draw(st.sampled_from(list(value)))
    other[name] += 1
    assert token(value) != token(other)
    del other[name]
    other[data.draw(hashables)] = value[name]
    assert (token(value) == token(other)) == same(value, other)


def test_equal_names_of_another_type_differ_in_a_table() -> None:
    rows = [{"a": number} for number in range(20)]
    for place in (0, 7, 19):
        others = [dict(row) for row in rows]
        others[place] = {Name("a"): place}
        assert token(others) != token(rows)
    assert token(dict.fromkeys(range(9), 0)) != token(
        {(True if number == 1 else number): 0 for number in range(9)}
    )


told = st.sampled_from(
    [
        st.decimals() | st.sampled_from([decimal.Decimal("1.0"), decimal.Decimal("1.00")]),
        st.dates(),
        st.datetimes(timezones=st.none() | st.timezones(), allow_imaginary=False),
        st.times(timezones=st.none() | st.just(datetime.timezone.utc)),
        st.timedeltas(),
        st.fractions(),
        st.uuids(),
        st.ip_addresses(),
        st.builds(pathlib.Path, st.text(alphabet="ab/.", max_size=3)),
        st.builds(pathlib.PurePosixPath, st.text(alphabet="ab/.", max_size=3)),
        st.builds(range, st.integers(0, 3), st.integers(0, 3), st.integers(1, 2)),
        st.binary(max_size=3),
        st.frozensets(st.integers(0, 3), max_size=2),
        st.sets(st.text(alphabet="ab", max_size=1), max_size=2),
        st.builds(Pair, st.integers(0, 1), scalars),
        st.builds(Config, st.integers(0, 1), scalars | st.builds(Plain, scalars)),
        st.builds(Plain, scalars | st.lists(st.builds(Plain, scalars), max_size=10)),
        scalars,
    ]
)


@st.composite
def told_columns(draw: st.DrawFn) -> list[Any]:
    """Values of some types that are told by others, in whatever mixture."""
    kinds = draw(st.lists(told, min_size=1, max_size=3))
    few = draw(st.lists(st.one_of(*kinds), min_size=2, max_size=12))
    return draw(st.permutations(few * draw(st.integers(5, 12))))


def spelled(value: Any) -> Any:
    """Give what tells of a value, by a way of its own."""
    if isinstance(value, decimal.Decimal) and value.is_nan():
        return decimal.Decimal, value.is_snan()
    if isinstance(value, decimal.Decimal):
        return decimal.Decimal, value.as_tuple()
    if isinstance(value, (datetime.datetime, datetime.time)):
        zone = value.tzinfo
        return type(value), repr(value.replace(tzinfo=None)), repr(zone), type(zone)
    if isinstance(value, Pair):
        return Pair, tuple(value)
    if isinstance(value, (Config, Plain)):
        return type(value), {name: spelled(held) for name, held in vars(value).items()}
    if isinstance(value, list):
        return [spelled(held) for held in value]
    if isinstance(value, range):
        return range, value.start, value.stop, value.step
    return value


@given(told_columns(), told_columns(), st.data())
def test_what_others_tell_counts_as_it_does_alone(
    ours: list[Any], others: list[Any], data: st.DataObject
) -> None:
    theirs = list(ours)
    theirs[data.draw(st.integers(0, len(ours) - 1))] = data.draw(st.sampled_from(others))
    equal = all(same(spelled(one), spelled(other)) for one, other in zip(ours, theirs))
    for around in (lambda values: values, lambda values: [{"v": value} for value in values]):
        assert (token(around(ours)) == token(around(theirs))) == equal
        assert token(around(ours)) == token(around(pickle.loads(pickle.dumps(ours))))
    alone = [token(one) == token(other) for one, other in zip(ours, theirs)]
    assert all(alone) == equal


def test_values_count_in_a_column_as_they_do_alone() -> None:
    seen: dict[bytes, Any] = {}
    before: Any = "text"
    for row in DISTINCT:
        for size in (9, 20):
            for column in (
                lambda value, size=size: [value] * size,
                lambda value, size=size: [value, None] * size,
                lambda value, size=size, before=before: [before, value, b"x"] * size,
                lambda value, size=size: [{"v": value, "n": n} for n in range(size)],
            ):
                tokens = {token(column(value)) for value in row}
                tokens.add(token([*column(row[0])[:-1], column(row[-1])[-1]]))
                assert len(tokens) == 1, row
                (one,) = tokens
                assert one not in seen, (row, seen.get(one))
                seen[one] = row
        before = row[0]


def test_values_of_very_many_types_are_told_apart() -> None:
    kinds = [type(f"Kind{number}", (Plain,), {}) for number in range(500)]
    values = [kind(number) for kind in kinds for number in range(10)]
    assert token(values) == token(made_again(values))
    for place in (0, 2500, 4999):
        others = list(values)
        others[place] = kinds[place // 10]("other")
        assert token(others) != token(values)


def made_again(values: list[Any]) -> list[Any]:
    return [type(value)(value.a) for value in values]


@given(
    st.one_of(
        st.sets(st.integers(), min_size=7, max_size=12),
        st.sets(st.text(max_size=3), min_size=7, max_size=12),
        st.sets(st.one_of(st.integers(0, 9), st.text(max_size=1)), min_size=7, max_size=12),
        st.sets(st.floats(allow_nan=False), min_size=7, max_size=12),
        st.sets(st.tuples(st.integers(), st.text(max_size=2)), min_size=7, max_size=12),
        st.sets(st.tuples(st.one_of(st.booleans(), st.none()), st.integers(0, 9)), min_size=7),
        st.sets(st.lists(st.integers(0, 3), max_size=2).map(tuple), min_size=7, max_size=12),
    ),
    st.randoms(use_true_random=False),
)
def test_many_values_in_a_set_count_whatever_their_order(
    values: set[Any], chance: random.Random
) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)
    token = Encoder().token(values)
    assert Encoder().token(set(shuffled)) == token
    one = shuffled.pop()
    others: list[Any] = [
        set(shuffled),
        {*shuffled, (one,)},
        frozenset(values),
        sorted(values, key=repr),
    ]
    others.append(dict.fromkeys(values).keys())
    assert token not in map(Encoder().token, others)
    named = dict.fromkeys(values, one)
    assert Encoder().token({name: named[name] for name in reversed(named)}) == Encoder().token(
        named
    )
    assert Encoder().token({**named, one: None}) != Encoder().token(named)
    assert Encoder().token([values, *range(9)]) != Encoder().token([set(shuffled), *range(9)])
