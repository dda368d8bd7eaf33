"""When two values, and two functions, have one key. The judge is written here, not the encoder."""

from __future__ import annotations

import array as arrays
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import math
import pathlib
import pickle
import re
import struct
import sys
import threading
import tracemalloc
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow import UnhashableArgumentError, UnstableKeyWarning, register_key
from s3kv_flow.keys import columns
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.code import Identity
from s3kv_flow.keys.digest import XXH3_128
from s3kv_flow.keys.stream import stream_digest
from s3kv_flow.keys.token import PIECE, Encoder


def token(value: Any) -> bytes:
    return Encoder().token(value)


def key(function: Any, *args: Any, **kwargs: Any) -> str:
    return CallKey(function, Identity(function)).of(args, kwargs)


def same(a: Any, b: Any) -> bool:
    """A typed structural equality: the oracle of the property tests."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return _matched(list(a.items()), list(b.items()))
    if isinstance(a, (set, frozenset)):
        return _matched(list(a), list(b))
    return bool(a == b)


def _matched(ours: list[Any], theirs: list[Any]) -> bool:
    if len(ours) != len(theirs):
        return False
    for one in ours:
        place = next((n for n, other in enumerate(theirs) if same(one, other)), None)
        if place is None:
            return False
        del theirs[place]
    return True


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers()
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, 1, True, "1", b"1", "", b"", 1j])
    | st.text(max_size=3)
    | st.text(min_size=60, max_size=70)
    | st.binary(max_size=3)
    | st.complex_numbers()
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_two_values_share_a_token_exactly_when_they_are_the_same(a: Any, b: Any) -> None:
    assert (token(a) == token(b)) == same(a, b)


@given(values)
def test_copies_and_shared_parts_have_one_token(value: Any) -> None:
    import copy

    assert token([value, value]) == token([value, copy.deepcopy(value)])
    assert token({"a": value, "b": 1}) == token({"b": 1, "a": copy.deepcopy(value)})


@given(st.lists(st.floats() | st.integers() | st.text(), min_size=9, max_size=12))
def test_the_fast_ways_and_the_slow_one_tell_the_same_apart(values: list[Any]) -> None:
    assert token(values) != token(tuple(values))
    assert token(values) != token(values[:-1])
    assert token([values]) != token(values)


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


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Config:
    a: int
    b: Any = None

    @functools.cached_property
    def total(self) -> int:
        return self.a


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int


class Plain:
    def __init__(self, a: Any) -> None:
        self.a = a


class Bare:
    @functools.cached_property
    def total(self) -> int:
        return 1


class Text(str):
    pass


class Keyed:
    def __init__(self, url: str) -> None:
        self.url, self.lock = url, threading.Lock()

    def __s3kv_key__(self) -> str:
        return self.url


class Client:
    def __init__(self, url: str) -> None:
        self.url, self.lock = url, threading.Lock()


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


register_key(Client, lambda client: client.url)

now = datetime.datetime(2026, 3, 29, 1, 30)
berlin, tokyo = zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Asia/Tokyo")
array = np.arange(12.0).reshape(3, 4)
padded = np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))
dirty = padded.copy()
dirty.view(np.uint8)[1] = 7

#: All of a row share a token, and no two rows do.
DISTINCT: list[list[Any]] = [
    [1, int("1")],
    [1.0],
    [True],
    [decimal.Decimal(1)],
    [decimal.Decimal("1.0")],
    [decimal.Decimal("1e9")],
    [decimal.Decimal("NaN"), decimal.Decimal("-NaN123")],
    [decimal.Decimal("sNaN"), decimal.Decimal("sNaN5")],
    [decimal.Decimal("-inf")],
    [np.int64(1), np.int64(2) - np.int64(1), np.longlong(1)],
    [np.uint64(1), np.ulonglong(1)],
    [np.float16(1)],
    [np.float32(1)],
    [np.float64(1)],
    [np.longdouble(1)],
    [np.bool_(True)],
    [np.complex64(1)],
    [np.complex128(1)],
    [np.float64("nan"), -np.float64("nan")],
    [np.float32("nan"), -np.float32("nan")],
    [np.datetime64("2020", "D")],
    [np.datetime64("2020", "s")],
    [np.int32(1)],
    [np.array(1)],
    ["1"],
    [b"1"],
    [bytearray(b"1")],
    [(1, 2)],
    [[1, 2]],
    [{1, 2}, {2, 1}],
    [frozenset({1, 2})],
    [{1: 2}],
    [{"1": 2}],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    [collections.OrderedDict(a=1, b=2)],
    [collections.OrderedDict(b=2, a=1)],
    [collections.Counter("ab"), collections.Counter("ba")],
    [collections.deque([1, 2])],
    [collections.deque([1, 2], 2)],
    [collections.defaultdict(list, a=1)],
    [collections.defaultdict(None, a=1)],
    [types.SimpleNamespace(a=1)],
    [0.0],
    [-0.0],
    [float("nan"), -float("nan")],
    [now],
    [now.replace(tzinfo=datetime.timezone.utc)],
    [now.replace(tzinfo=berlin)],
    [now.replace(tzinfo=berlin, fold=1)],
    [now.replace(tzinfo=berlin).astimezone(tokyo)],
    [now.date()],
    [now.time()],
    [datetime.timedelta(1), datetime.timedelta(hours=24)],
    [fractions.Fraction(1, 2), fractions.Fraction(2, 4)],
    [uuid.UUID(int=1)],
    [re.compile("a")],
    [re.compile("a", re.IGNORECASE)],
    [pathlib.Path("a"), pathlib.Path("./a")],
    [pathlib.PurePosixPath("a")],
    [pathlib.PureWindowsPath("a"), pathlib.PureWindowsPath("./a")],
    [ipaddress.ip_address("0.0.0.1")],
    [ipaddress.ip_address("::1")],
    [ipaddress.ip_network("::1")],
    [ipaddress.ip_interface("::1")],
    [range(0, 10, 2)],
    [slice(1, 2)],
    [Colour.RED],
    [Colour.BLUE],
    [Access.READ | Access.WRITE],
    [Pair(1, 2)],
    [Config(1), Config(1)],
    [Config(2)],
    [Slotted(1), Slotted(1)],
    [Plain(1), Plain(1)],
    [Plain([1])],
    [Text("1")],
    [Keyed("a"), Keyed("a")],
    [Client("a"), Client("a")],
    [int],
    [str],
    [Plain],
    [len],
    [functools.partial(max, 1)],
    [functools.partial(max, 2)],
    [lambda x: x + 1],
    [lambda x: x + 2],
    [
        array,
        array.copy(),
        np.asfortranarray(array),
        np.ascontiguousarray(array.T).T,
        array[::-1][::-1],
    ],
    [array.T],
    [array.astype("f4")],
    [array.astype(">f8")],
    [array.reshape(4, 3)],
    [np.array(["a"], "U2")],
    [np.array(["a"], "U8")],
    [padded, dirty],
    [np.array(["2020"], "M8[D]")],
    [np.array(["2020"], "M8[s]")],
    [np.array([1, None], dtype=object)],
    [np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 3], [0, 1])],
    [pd.Series([1, 2]), pd.concat([pd.Series([1]), pd.Series([2])], ignore_index=True)],
    [pd.Series([1, 2], name="n")],
    [pd.Series([1, 2], index=[0, 2])],
    [pd.Series([1, 2], dtype="Int64")],
    [pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame([[1, 2]], columns=["a", "b"])],
    [pd.DataFrame({"b": [2], "a": [1]})],
    [pd.DataFrame({"a": [1], "b": [2]}, index=["x"])],
    [pd.Series(pd.Categorical(["a"], ["a", "b"]))],
    [pd.Series(pd.Categorical(["a"], ["b", "a"]))],
    [pd.Series(["a", None], dtype=object)],
    [pd.Series(["a", None], dtype="string[python]")],
    [pd.Timestamp("2020")],
    [pd.NaT],
    [
        pl.DataFrame({"a": [1, 2]}),
        pl.concat([pl.DataFrame({"a": [n]}) for n in (1, 2)], rechunk=False),
    ],
    [pl.DataFrame({"a": [1, 2]}, schema={"a": pl.Int32})],
    [pl.Series("a", [1, 2])],
    [pl.Series(["u", "v"], dtype=pl.Categorical)],
    [pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"]))],
    [pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"]))],
    [
        pa.table({"a": [1, 2, 3]}).slice(1),
        pa.table({"a": [2, 3]}),
        pa.concat_tables([pa.table({"a": [2]}), pa.table({"a": [3]})]),
    ],
    [pa.table({"a": [2, 3]}).replace_schema_metadata({"k": "v"})],
    [pa.array([1, None]), pa.array([0, 1, None]).slice(1)],
    [pa.array(["a", None])],
    [pa.array([[1], None, []])],
]


def test_what_is_the_same_shares_a_token_and_nothing_else_does() -> None:
    seen: dict[bytes, Any] = {}
    for row in DISTINCT:
        tokens = {token(value) for value in row}
        assert len(tokens) == 1, row
        (one,) = tokens
        assert one not in seen, (row, seen.get(one))
        seen[one] = row


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


def test_nan_payloads_of_scalars_do_not_count() -> None:
    import struct

    odd = struct.unpack("<d", b"\1\0\0\0\0\0\xf8\x7f")[0]
    assert token(odd) == token(float("nan"))


def test_reading_an_object_does_not_change_its_token() -> None:
    import copy

    config = Config(1)
    before = token(config)
    assert config.total == 1
    copy.copy(config)
    assert token(config) == before
    several = [Config(number) for number in range(20)]
    before = token(several)
    assert several[7].total == 7
    assert token(several) == before
    bare = [Bare() for _ in range(20)]
    before = token(bare)
    assert bare[7].total == 1
    assert token(bare) == before


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


class Lying:
    """Says what it is made of in ways that pickle would refuse."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        if isinstance(self.reduced, Exception):
            raise self.reduced
        return self.reduced


def test_what_lies_about_itself_is_refused_with_its_path() -> None:
    fair = (list, ())
    for reduced in (KeyError("x"), 1, (list,), (list, [])):
        values = [Lying(reduced if number == 7 else fair) for number in range(20)]
        with pytest.raises(UnhashableArgumentError) as refused:
            token(values)
        assert refused.value.path.startswith("[7]")
    assert token([Lying(fair)] * 20) != token([Lying(fair)] * 19 + [Lying("name")])


def test_what_another_package_registers_for_exceptions_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, several = ValueError("a", 1), [ValueError("a", number) for number in range(20)]
    before = token(one), token(several)
    assert token(several) != token([*several[:-1], ValueError("b", 19)])

    def reduced(error: BaseException) -> Any:
        return getattr, (error, "args")

    monkeypatch.setitem(copyreg.dispatch_table, ValueError, reduced)
    assert (token(one), token(several)) == before


def test_objects_of_a_class_that_was_made_twice_count_alike() -> None:
    def made() -> tuple[type, ...]:
        class Ordinary:
            def __init__(self, a: Any) -> None:
                self.a = a

        @dataclasses.dataclass
        class OfFields:
            a: Any

        class InSlots:
            __slots__ = ("a",)

            def __init__(self, a: Any) -> None:
                self.a = a

        return Ordinary, OfFields, InSlots

    for once, again in zip(made(), made()):
        several = [once(number) for number in range(20)]
        as_many = [(again if number % 3 else once)(number) for number in range(20)]
        assert token(several) == token(as_many)
        as_many[7] = again(8)
        assert token(several) != token(as_many)


def test_cycles_have_a_token() -> None:
    def loop(length: int) -> list[Any]:
        first: list[Any] = []
        last = first
        for _ in range(length - 1):
            last.append([])
            last = last[0]
        last.append(first)
        return first

    assert token(loop(1)) == token(loop(1))
    assert token(loop(2)) == token(loop(2))
    assert token([loop(1), loop(1)]) == token([loop(1)] * 2)

    def ring(last: int) -> list[Config]:
        configs = [Config(number) for number in [*range(19), last]]
        for number, config in enumerate(configs):
            config.b = [configs[number - 1], configs]
        return configs

    assert token(ring(19)) == token(ring(19))
    assert token(ring(19)) != token(ring(20))


def test_shared_parts_cost_once() -> None:
    value: Any = [1]
    for _ in range(100):
        value = [value, value]
    assert token(value)
    for _ in range(50):
        value = [value] * 20
    assert token(value)
    endless: list[Any] = []
    endless += [endless] * 20
    assert token(endless)
    names: dict[str, Any] = {}
    names.update({str(number): names for number in range(20)})
    assert token(names)
    rows: list[Any] = [{} for _ in range(120)]
    for number, row in enumerate(rows):
        row.update(table=rows, before=rows[number - 1])
    assert token(rows)
    configs = [Config(number) for number in range(2000)]
    for config in configs:
        config.b = configs
    assert token(configs)
    settings = {str(number): number for number in range(8000)}
    assert token([{"of": settings, "n": number} for number in range(10_000)])
    wide = Plain(1)
    vars(wide).update({f"a{number}": b"x" for number in range(1000)})
    assert token([wide] * 10_000)
    assert token([{*range(100_000)}] * 10_000)
    long = list(range(100_000))
    for first in ("text", 1.5, 1, None):
        assert token([first] + [long] * 10_000)
        assert token([first] + [settings] * 10_000)
        assert token({"first": first} | dict.fromkeys(map(str, range(1000)), long))


def test_deep_nesting_has_a_key() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    def function(x: Any) -> Any:
        return x

    limit = sys.getrecursionlimit()
    assert key(function, nested(5_000)) == key(function, nested(5_000))
    assert key(function, nested(5_000)) != key(function, nested(5_001))
    assert sys.getrecursionlimit() == limit


UNHASHABLE: list[tuple[Any, str]] = [
    (iter([1]), ""),
    ((x for x in [1]), ""),
    (threading.Lock(), ""),
    ({"cfg": Plain([1, threading.Lock()])}, "['cfg'].a[1]"),
    ([Config(1, b={"x": threading.Lock()})], "[0].b['x']"),
    (zip([1], [2]), ""),
    (sys._getframe(), ""),
]


def placed_in(rows: int, at: int, row: Any, where: Any) -> list[Any]:
    return [where if number == at else row for number in range(rows)]


LOCK = threading.Lock()
#: Values that are encoded as columns, with something that has no key.
IN_COLUMNS: list[tuple[Any, str]] = [
    ([*range(20), LOCK], "[20]"),
    (placed_in(5000, 4321, 0, LOCK), "[4321]"),
    (placed_in(20, 7, {"a": 1, "b": 2}, {"b": LOCK, "a": 1}), "[7]['b']"),
    (placed_in(9, 7, {"a": 1, "b": 2}, {"b": LOCK, "a": 1}), "[7]['b']"),
    (placed_in(40, 31, {"a": 1}, {"b": [{"c": LOCK}]})[:39] + [{"b": 1}] * 9, "[31]['b'][0]['c']"),
    (placed_in(20, 7, [1, 2], [1, LOCK]), "[7][1]"),
    (placed_in(20, 7, (1, 2), (1, 2, LOCK)), "[7][2]"),
    (placed_in(20, 7, [1, 2], (1, LOCK)), "[7][1]"),
    (placed_in(20, 7, Config(1), Config(1, b={"x": LOCK})), "[7].b['x']"),
    (placed_in(20, 7, Config(1), {"x": LOCK}), "[7]['x']"),
    ([{n: 1, 5: LOCK if n == 7 else 0} for n in range(20)], "[7][5]"),
    ([{f"k{n}": LOCK if n == 7 else b""} for n in range(20)], "[7]['k7']"),
    (placed_in(20, 7, decimal.Decimal(1), LOCK), "[7]"),
    ([collections.OrderedDict(a=LOCK if n == 7 else n) for n in range(20)], "[7]['a']"),
    ([collections.deque([1, LOCK if n == 7 else n]) for n in range(20)], "[7][1]"),
    ([*placed_in(20, 7, [], [LOCK]), *[1] * 5], "[7][0]"),
    ({f"k{n}": {"a": [n] * 3 if n != 7 else [n, LOCK]} for n in range(3000)}, "['k7']['a'][1]"),
    ({n: LOCK if n == 7 else n for n in range(20)}, "[7]"),
    ({(n, 1): LOCK if n == 7 else n for n in range(20)}, "[<tuple>]"),
    ({LOCK if n == 7 else n / 2: n for n in range(20)}, "[<lock>]"),
    ([[[[[[[[[[LOCK]]]]]]]]] for _ in range(20)], "[0]" * 10),
]
UNHASHABLE += IN_COLUMNS


@pytest.mark.parametrize(("value", "path"), UNHASHABLE, ids=lambda value: type(value).__name__)
def test_what_has_no_key_is_named_and_never_read(value: Any, path: str) -> None:
    with pytest.raises(UnhashableArgumentError) as refused:
        token(value)
    assert refused.value.path == path
    assert "ignore=" in str(refused.value)


def test_iterators_and_files_are_not_used_up(tmp_path: pathlib.Path) -> None:
    numbers = iter([1, 2])
    path = tmp_path / "file"
    path.write_text("text")
    with path.open() as file:
        for value in (numbers, file):
            with pytest.raises(UnhashableArgumentError):
                token(value)
        assert list(numbers) == [1, 2]
        assert file.read() == "text"


def test_the_path_begins_with_the_argument() -> None:
    def function(a: int, cfg: Any) -> int:
        return a

    with pytest.raises(UnhashableArgumentError, match=r"^cfg\['client'\]\.a: "):
        key(function, 1, {"client": Plain(threading.Lock())})


# Functions


def compiled(text: str, **namespace: Any) -> Any:
    """Give ``f`` of a text, as a module would have it."""
    import linecache

    name = f"<test {uuid.uuid4()}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace["__name__"] = "module_of_the_test"
    sys.modules.setdefault("module_of_the_test", types.ModuleType("module_of_the_test"))
    exec(compile(text, name, "exec"), namespace)
    return namespace["f"]


BASE = """
LIMIT = 3
def helper(x, times=2):
    return x * times
def f(x):
    return helper(x) + LIMIT
"""

SAME = [
    BASE.replace("x * times", "(x  *  times)  # comment"),
    BASE.replace("    return helper", '    """Doc."""\n\n    return helper'),
    BASE.replace("def f(x)", "def f(x: int) -> int"),
    "import math\nUNUSED = 7\n" + BASE,
    BASE.replace("def helper", "\n\n\ndef helper"),
]
OTHER = [
    BASE.replace("LIMIT = 3", "LIMIT = 4"),
    BASE.replace("LIMIT = 3", "LIMIT = 3.0"),
    BASE.replace("x * times", "x + times"),
    BASE.replace("times=2", "times=3"),
    BASE.replace("+ LIMIT", "- LIMIT"),
    BASE.replace("helper(x) +", "helper(x, 2) +"),
]


@pytest.mark.parametrize("text", SAME)
def test_what_changes_nothing_does_not_count(text: str) -> None:
    assert key(compiled(text), 1) == key(compiled(BASE), 1)


@pytest.mark.parametrize("text", OTHER)
def test_what_changes_what_runs_counts(text: str) -> None:
    assert key(compiled(text), 1) != key(compiled(BASE), 1)


def test_a_change_while_the_process_runs_counts_at_once() -> None:
    function = compiled(BASE)
    call_key = CallKey(function, Identity(function))
    namespace = function.__globals__
    first = call_key.of((1,), {})
    namespace["LIMIT"] = 4
    second = call_key.of((1,), {})
    namespace["LIMIT"] = 3
    assert call_key.of((1,), {}) == first != second
    namespace["helper"].__defaults__ = (5,)
    assert call_key.of((1,), {}) != first


def test_data_that_changes_in_place_counts() -> None:
    function = compiled("TABLE = {'a': [1]}\ndef f(x):\n    return TABLE['a'][0] + x")
    call_key = CallKey(function, Identity(function))
    first = call_key.of((1,), {})
    function.__globals__["TABLE"]["a"].append(2)
    assert call_key.of((1,), {}) != first
    function.__globals__["TABLE"]["a"].pop()
    assert call_key.of((1,), {}) == first


def test_closures_defaults_and_lambdas_count_by_value() -> None:
    def make(n: int) -> Any:
        return lambda x: x + n

    assert key(make(1), 1) == key(make(1), 1) != key(make(2), 1)
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert key(first, 1) != key(second, 1)


def test_the_class_of_an_argument_counts() -> None:
    text = "class A:\n    FACTOR = 2\n    def m(self):\n        return self.FACTOR\ndef f():\n    return A()"
    first = token(compiled(text)())
    assert token(compiled(text.replace("    def m", "    # comment\n    def m"))()) == first
    assert token(compiled(text.replace("FACTOR = 2", "FACTOR = 3"))()) != first
    assert token(compiled(text.replace("self.FACTOR", "-self.FACTOR"))()) != first
    cls = type(compiled(text)())
    value = cls()
    before = token(value)
    cls.FACTOR = 5
    assert token(value) != before


FIELDS = [
    (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    a: list = "
        "dataclasses.field(default_factory=list)\n    b: int = 1\ndef f(): return C",
        [("=list", "=set"), ("b: int = 1", "b: int = 2"), ("dataclass\n", "dataclass(eq=False)\n")],
    ),
    (
        "import pydantic\nclass C(pydantic.BaseModel):\n    a: int = 3\n"
        "    b: int = pydantic.Field(1, gt=0)\ndef f(): return C",
        [("a: int = 3", "a: int = 5"), ("a: int", "a: float"), ("gt=0", "gt=-1")],
    ),
    (
        "import attrs\n@attrs.define\nclass C:\n    a: int = 3\n"
        "    b: int = attrs.field(default=1, converter=int)\ndef f(): return C",
        [("a: int = 3", "a: int = 5"), ("converter=int", "converter=float"), ("    a:", "    c:")],
    ),
    (
        "class M(type):\n    def __call__(cls):\n        return 1\n"
        "class C(metaclass=M):\n    pass\ndef f(): return C",
        [("return 1", "return 2")],
    ),
]


@pytest.mark.parametrize(("text", "edits"), FIELDS)
def test_what_makes_the_methods_of_a_class_counts(text: str, edits: list[tuple[str, str]]) -> None:
    first = key(compiled(text))
    assert key(compiled(text)) == first
    for old, new in edits:
        assert old in text
        assert key(compiled(text.replace(old, new))) != first, (old, new)


def test_recursion_and_mutual_recursion_end() -> None:
    names = [f"f{n}" for n in range(30)]
    calls = "; ".join(f"{name}(x)" for name in names)
    text = "\n".join(f"def {name}(x):\n    {calls}" for name in names) + "\nf = f0"
    assert key(compiled(text), 1) == key(compiled(text), 1)
    assert key(compiled(text), 1) != key(
        compiled(text.replace("f7(x):\n", "f7(x):\n    x += 1\n")), 1
    )


def test_decorators_count_by_what_they_made() -> None:
    text = """
import functools
def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return n * function(x)
        return wrapper
    return decorate
@times(2)
def f(x):
    return x
"""
    first = key(compiled(text), 1)
    assert key(compiled(text), 1) == first
    assert key(compiled(text.replace("times(2)", "times(3)")), 1) != first
    assert key(compiled(text.replace("return x\n", "return -x\n")), 1) != first


def test_installed_code_counts_by_name() -> None:
    first = key(compiled("import numpy as np\ndef f(x):\n    return np.mean(x)"), 1)
    assert first == key(
        compiled("import numpy as np\nimport math\ndef f(x):\n    return np.mean(x)"), 1
    )
    assert first != key(compiled("import numpy as np\ndef f(x):\n    return np.median(x)"), 1)


def test_a_global_without_a_key_counts_by_its_type_and_is_named() -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef f(x):\n    with LOCK:\n        return x"
    with pytest.warns(UnstableKeyWarning, match="'LOCK'"):
        first = key(compiled(text), 1)
    with pytest.warns(UnstableKeyWarning):
        assert key(compiled(text), 1) == first


def test_code_without_a_text_counts_by_its_bytecode() -> None:
    def without_text(text: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "module_of_the_test"}
        exec(text, namespace)
        return namespace["f"]

    assert key(without_text(BASE), 1) == key(without_text(BASE), 1)
    assert key(without_text(BASE), 1) != key(without_text(OTHER[2]), 1)


def test_shallow_and_none_leave_out_what_they_say() -> None:
    def digest(text: str, mode: str) -> str:
        function = compiled(text)
        return CallKey(function, Identity(function, mode)).of((1,), {})

    helper, body = OTHER[2], OTHER[4]
    assert digest(helper, "shallow") == digest(BASE, "shallow") != digest(body, "shallow")
    assert digest(helper, "none") == digest(BASE, "none") == digest(body, "none")


@given(values, values)
def test_equal_quick_streams_are_of_equal_values(a: Any, b: Any) -> None:
    one, other = stream_digest(a, XXH3_128), stream_digest(b, XXH3_128)
    if one is not None and one == other:
        assert same(a, b)


class Text(str):
    """A text whose own code may have a say."""


class Level(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.0),
        np.int64(1),
        np.bytes_(b"1"),
        np.arange(3),
        bytearray(b"1"),
        memoryview(b"1"),
        Text("1"),
        Level.ONE,
        collections.OrderedDict(a=1),
        collections.defaultdict(int),
        collections.Counter("a"),
        datetime.date(2026, 1, 1),
        int,
        len,
        ...,
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_exact_builtin_has_no_quick_stream(value: Any) -> None:
    for holder in (value, [value], {"a": (1, value)}, [[value]]):
        assert stream_digest(holder, XXH3_128) is None


def test_what_is_long_is_not_copied_to_find_that_it_has_no_quick_stream() -> None:
    for long in ("x" * 40_000_000, bytes(40_000_000)):
        tracemalloc.start()
        try:
            assert stream_digest([1, {"text": long}], XXH3_128) is None
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


def test_what_is_long_deep_or_endless_has_no_quick_stream() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep, list(range(1_000_000)), [b"x" * 1_000_000], "x" * 1_000_000):
        assert stream_digest(value, XXH3_128) is None
