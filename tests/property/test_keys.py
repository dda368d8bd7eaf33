"""When two values have one key. The judge is written here, not the encoder."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import decimal
import pathlib
import struct
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow import UnhashableArgumentError
from tests.property.values_of_keys import DISTINCT, Bare, Config, Plain, key, same, token, values


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


def test_what_is_the_same_shares_a_token_and_nothing_else_does() -> None:
    seen: dict[bytes, Any] = {}
    for row in DISTINCT:
        tokens = {token(value) for value in row}
        assert len(tokens) == 1, row
        (one,) = tokens
        assert one not in seen, (row, seen.get(one))
        seen[one] = row


def test_nan_payloads_of_scalars_do_not_count() -> None:

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
