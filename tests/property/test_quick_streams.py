"""Equal quick streams are of equal values."""

from __future__ import annotations

import collections
import datetime
import enum
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.digest import XXH3_128
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.stream import stream_digest
from tests.property.values_of_keys import same, values


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


def test_a_long_argument_is_not_asked_for_its_utf8() -> None:
    def function(*args: Any, **kwargs: Any) -> None: ...

    keys = CallKey(function, Identity(function))
    text = "é" * 1_000_000
    size = sys.getsizeof(text)
    for args, kwargs in (((text, 1.5), {}), ((), {"text": text})):
        assert keys.quick(args, kwargs) is None
        assert keys.of(args, kwargs)
        assert sys.getsizeof(text) == size


def test_what_is_long_deep_or_endless_has_no_quick_stream() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep, list(range(1_000_000)), [b"x" * 1_000_000], "x" * 1_000_000):
        assert stream_digest(value, XXH3_128) is None
