"""A locked version is never hidden by this library, whatever order requests come in."""

from __future__ import annotations

from typing import Any

import pytest

from s3kv_flow._model import ANY, Lock
from s3kv_flow.errors import ConflictError, KeyLockedError
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.protocols import Bucket
from s3kv_flow.testing import ManualClock

from .explore import RUNNING, Operation, explore
from .test_tagindex import NAME, writes


def write(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).put("key", NAME, [b"written"])


def merge(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).update("key", NAME, lambda found: [b"merged"])


def delete(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).delete("key", NAME)


def delete_many(store: Bucket, clock: ManualClock) -> Any:
    return list(writes(store, clock).delete_many([(NAME, ANY)]))


def retain(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).retain("key", NAME, 1, "GOVERNANCE")


def retain_longer(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).retain("key", NAME, 2, "COMPLIANCE")


def hold(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).hold("key", NAME)


def release(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).retention.release_hold(NAME)


def locked_versions_are_shown(store: MemoryStore, results: tuple[Any, ...]) -> None:
    shown = store.protection(NAME)
    lock = Lock() if shown is None else shown.holding
    for version in store.versions(NAME):
        found = store.protection(NAME, version=version.version)
        if found is not None and found.holding.mode:
            assert lock.mode, results
        if found is not None and found.holding.legal_hold:
            assert lock.legal_hold, results


def new_store() -> tuple[MemoryStore, ManualClock]:
    clock = ManualClock()
    store = MemoryStore(clock, object_lock=True)
    store.put(NAME, [b"first"])
    return store, clock


@pytest.mark.parametrize("locker", [retain, retain_longer, hold])
@pytest.mark.parametrize(
    "others",
    [[write], [delete], [merge], [delete_many], [write, delete], [write, merge], [retain, write]],
    ids=lambda operations: " ".join(operation.__name__ for operation in operations),
)
def test_writers_never_hide_a_locked_version(
    monkeypatch: pytest.MonkeyPatch, locker: Operation, others: list[Operation]
) -> None:
    store, clock = new_store()

    def holds(store: MemoryStore, results: tuple[Any, ...]) -> None:
        locked_versions_are_shown(store, results)
        for result in results:
            assert result is RUNNING or not isinstance(result, ConflictError)

    assert explore(monkeypatch, store, clock, [locker, *others], holds) > 10


def test_a_release_never_leaves_an_older_version_held_behind_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, clock = new_store()
    hold(store, clock)
    write(store, clock)
    assert explore(monkeypatch, store, clock, [release], locked_versions_are_shown)


def test_a_refused_write_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = new_store()
    retain(store, clock)
    before = dict(store._objects)

    def unchanged(store: MemoryStore, results: tuple[Any, ...]) -> None:
        assert store._objects == before
        for result in results:
            assert result is RUNNING or isinstance(result, KeyLockedError)

    assert explore(monkeypatch, store, clock, [write, merge, delete], unchanged)


def test_the_model_finds_what_a_careless_writer_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = new_store()

    def careless(store: Bucket, clock: ManualClock) -> None:
        if not writes(store, clock).retention.locked(NAME, "key").holding:
            store.put(NAME, [b"careless"])

    with pytest.raises(AssertionError):
        explore(monkeypatch, store, clock, [retain, careless], locked_versions_are_shown)
