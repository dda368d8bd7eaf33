"""The assertions for keys of users' own types tell the truth, whatever the types are like."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.keys.token import REGISTERED
from s3kv_flow.testing import assert_different_keys, assert_same_key, assert_stable_key


class Client:
    def __init__(self, url: Any) -> None:
        self.url, self.lock = url, threading.Lock()

    def __s3kv_key__(self) -> Any:
        return self.url


class Registered:
    def __init__(self, url: str) -> None:
        self.url = url
        self.noise = object()


class Unordered:
    def __init__(self, held: Any) -> None:
        self.held = set(held)

    def __reduce__(self) -> Any:
        return Unordered, (list(self.held),)


class Unshown:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")
def test_what_does_not_travel_is_asked_for_what_counts() -> None:
    assert_stable_key(Client("x"))
    assert_same_key(Client("x"), Client("x"))
    assert_different_keys(Client("x"), Client("y"))
    with pytest.raises(AssertionError):
        assert_stable_key(Client(Unordered({"a", "b", "c", "d", "e"})))


def test_what_was_registered_counts_in_fresh_interpreters_too() -> None:
    s3kv.register_key(Registered, lambda one: one.url)
    try:
        assert_stable_key(Registered("x"))
    finally:
        del REGISTERED[Registered]


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")
def test_the_order_of_a_small_set_is_found_out() -> None:
    for held in ({"a", "b"}, {"id", "name"}):
        with pytest.raises(AssertionError, match="another key"):
            assert_stable_key(Unordered(held))


def test_what_cannot_be_shown_is_told_of() -> None:
    with pytest.raises(AssertionError, match="a Unshown"):
        assert_different_keys(Unshown(), Unshown())


def test_what_is_nested_deep_is_compared() -> None:
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    assert_same_key(deep, deep)
    assert_different_keys(deep, [deep])
