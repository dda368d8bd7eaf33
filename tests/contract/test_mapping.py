"""A store is a mutable mapping: what a dict says to a run of operations, it says too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import s3kv_flow as s3kv
from s3kv_flow.testing import memory_store

OPERATIONS: dict[str, Callable[[MutableMapping[str, Any], str, Any], Any]] = {
    "set": lambda store, key, value: store.__setitem__(key, value),
    "get item": lambda store, key, value: store[key],
    "delete": lambda store, key, value: store.__delitem__(key),
    "in": lambda store, key, value: key in store,
    "get": lambda store, key, value: store.get(key),
    "get or": lambda store, key, value: store.get(key, value),
    "pop": lambda store, key, value: store.pop(key),
    "pop or": lambda store, key, value: store.pop(key, value),
    "setdefault": lambda store, key, value: store.setdefault(key, value),
    "update by a mapping": lambda store, key, value: store.update({key: value, "more": 1}),
    "update by pairs": lambda store, key, value: store.update([(key, value), (key, value)]),
    "update by names": lambda store, key, value: store.update(**{key: value}),
    "clear": lambda store, key, value: store.clear(),
    "length": lambda store, key, value: len(store),
    "truth": lambda store, key, value: bool(store),
    "keys": lambda store, key, value: sorted(store.keys()),
    "iteration": lambda store, key, value: sorted(store),
    "items": lambda store, key, value: sorted(store.items(), key=str),
    "values": lambda store, key, value: sorted(store.values(), key=str),
    "key among keys": lambda store, key, value: key in store.keys(),  # noqa: SIM118
    "item among items": lambda store, key, value: (key, value) in store.items(),
    "value among values": lambda store, key, value: value in store.values(),
}

steps = st.lists(
    st.tuples(
        st.sampled_from(sorted(OPERATIONS)),
        st.sampled_from(["a", "b", "key1"]),
        st.none() | st.integers() | st.text(max_size=3) | st.tuples(st.integers()),
    ),
    max_size=20,
)


def told(operation: str, store: MutableMapping[str, Any], key: str, value: Any) -> Any:
    """What an operation gives, or that it finds no key."""
    try:
        return OPERATIONS[operation](store, key, value)
    except KeyError:
        return KeyError


@pytest.fixture(scope="module")
def kv() -> Iterator[s3kv.S3KV]:
    with memory_store(keyring=s3kv.Keyring.generate(), local_cache="off") as store:
        yield store


@given(steps)
def test_a_store_says_what_a_dict_says(kv: s3kv.S3KV, taken: list[tuple[str, str, Any]]) -> None:
    kv.clear()
    plain: dict[str, Any] = {}
    for operation, key, value in taken:
        assert told(operation, kv, key, value) == told(operation, plain, key, value)
        assert dict(kv) == plain


def test_items_are_popped_until_none_is_left(kv: s3kv.S3KV) -> None:
    kv.clear()
    kv.update(a=1, b=2)
    assert sorted([kv.popitem(), kv.popitem()]) == [("a", 1), ("b", 2)]
    with pytest.raises(KeyError):
        kv.popitem()


def test_two_stores_are_equal_only_if_they_are_one() -> None:
    one, other = memory_store(), memory_store()
    assert one == one
    assert one != other
    assert one != {}
    assert len({one, other}) == 2


def test_what_is_no_key_is_not_in_it() -> None:
    kv = memory_store()
    assert 7 not in kv
    with pytest.raises(s3kv.InvalidKeyError):
        kv[7]  # type: ignore[index]
    with pytest.raises(s3kv.KeyNotFoundError):
        del kv["absent"]
    assert kv.pop("absent", None) is None
