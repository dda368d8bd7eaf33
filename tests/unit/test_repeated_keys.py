"""What is the same in call after call is known again without a new token, and never wrongly."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import repeated, stream
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.digest import XXH3_128
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.token import Encoder
from tests.property.values_of_keys import values


class _Counting(Encoder):
    """An encoder that counts the values it was asked for."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def token(self, value: Any) -> bytes:
        self.asked += 1
        return super().token(value)


def _asked(place: Repeated, value: Any) -> int:
    encoder = _Counting()
    assert place.token(value, encoder) == Encoder().token(value)
    return encoder.asked


def settings() -> dict[str, Any]:
    return {f"k{n}": {"name": f"item {n}", "sizes": [n, n / 7]} for n in range(100)}


def test_what_comes_again_and_again_gets_no_new_token() -> None:
    place = Repeated()
    assert all(_asked(place, settings()) for _ in range(3))
    assert [_asked(place, settings()) for _ in range(3)] == [0, 0, 0]


def test_what_comes_again_is_known_by_its_value_and_not_by_its_identity() -> None:
    place, value = Repeated(), settings()
    for _ in range(5):
        _asked(place, value)
    value["k5"]["sizes"].append(1)
    assert _asked(place, value)  # compared with a fresh token in there
    value["k5"]["sizes"].pop()
    _asked(place, value)


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(values, min_size=4, max_size=4))
def test_the_token_is_the_encoders_in_whatever_order_values_come(
    order: list[int], some: list[Any]
) -> None:
    place = Repeated()
    for number in order:
        holder = [some[number]]
        try:
            expected: Any = Encoder().token(holder)
        except UnhashableArgumentError:
            with pytest.raises(UnhashableArgumentError):
                place.token(holder, Encoder())
        else:
            assert place.token(holder, Encoder()) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1], [True]),
        ([0.0], [-0.0]),
        ([1], [1.0]),
        (["1"], [b"1"]),
        ([(1, 2)], [[1, 2]]),
        ({1: 2}, {"1": 2}),
        ([{1}], [frozenset({1})]),
    ],
    ids=str,
)
def test_values_that_compare_equal_stay_apart(one: Any, other: Any) -> None:
    place = Repeated()
    for _ in range(5):
        known = place.token(one, Encoder())
    assert place.token(other, Encoder()) == Encoder().token(other) != known


def test_a_value_that_changes_while_it_is_encoded_is_not_known_by_what_it_was() -> None:
    class Changing(Encoder):
        def token(self, value: Any) -> bytes:
            token = super().token([*value, "amid a change"])
            value[0] += 1
            return token

    place = Repeated()
    for _ in range(6):
        place.token([1], Changing())
    assert place.token([1], Encoder()) == Encoder().token([1])


def test_what_holds_objects_is_asked_for_a_stream_once() -> None:
    place, asked = Repeated(), []
    value = [1, object]
    made = stream.long_stream_digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated, "long_stream_digest", lambda *of: asked.append(1) or made(*of))
        for _ in range(10):
            place.token(value, Encoder())
    assert len(asked) == 1


def test_long_streams_end_where_they_are_too_long() -> None:
    laughs: list[Any] = [0] * 10
    for _ in range(20):
        laughs = [laughs] * 10
    assert stream.long_stream_digest(laughs, XXH3_128, 1 << 20) is None
    assert stream.long_stream_digest([["x" * 1_000_000]], XXH3_128, 1 << 30) is None
    many = [f"text {n}" for n in range(100_000)]
    assert stream.long_stream_digest(many, XXH3_128, 1 << 30)
    assert stream.long_stream_digest(many, XXH3_128, 1 << 19) is None


@given(values, values)
def test_equal_long_streams_are_those_of_equal_short_ones(a: Any, b: Any) -> None:
    for one in (a, b):
        short = stream.stream_digest(one, XXH3_128)
        if short is not None:
            assert stream.long_stream_digest(one, XXH3_128, stream.FRAME + 100) == short


def test_threads_that_share_a_place_get_the_tokens_of_their_values() -> None:
    place, wrong = Repeated(), []
    choices = [settings(), [1, 2, 3], {"a": [1]}, list(range(1000))]
    tokens = [Encoder().token(one) for one in choices]

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            number = chance.choice([0, 0, 0, 1, 2, 3])
            if place.token(choices[number], Encoder()) != tokens[number]:
                wrong.append(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


_TABLE = settings()


def _reads_a_table(x: int) -> Any:
    return _TABLE, x


def _takes_settings(config: dict[str, Any], x: int) -> Any:
    return config, x


@pytest.mark.parametrize(("function", "args"), [(_reads_a_table, ()), (_takes_settings, (_TABLE,))])
def test_keys_follow_a_table_that_was_the_same_for_long(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    keys = CallKey(function, Identity(function))
    first = {keys.of((*args, 1), {}) for _ in range(6)}
    assert len(first) == 1
    _TABLE["k7"]["sizes"].append(0)
    try:
        changed = keys.of((*args, 1), {})
        assert changed == CallKey(function, Identity(function)).of((*args, 1), {})
        assert changed not in first
    finally:
        _TABLE["k7"]["sizes"].pop()
    assert {keys.of((*args, 1), {}) for _ in range(6)} == first
