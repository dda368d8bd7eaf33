"""No live tag is ever unindexed, whatever order requests come in and whoever crashes after any."""

from __future__ import annotations

from typing import Any

import pytest

from s3kv_flow._layout import Layout
from s3kv_flow._pack import Pack
from s3kv_flow._tagindex import COLLECT_AFTER, TagIndex
from s3kv_flow._writes import Writes
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.probe import Capabilities
from s3kv_flow.stores.protocols import Bucket
from s3kv_flow.testing import ManualClock

from .explore import RUNNING, Operation, explore

LAYOUT = Layout("s3kv")
NAME = LAYOUT.document("key")
MARKER = LAYOUT.marker(NAME, "t", "v")
OTHER_MARKER = LAYOUT.marker(NAME, "t", "w")
DAY = COLLECT_AFTER.total_seconds() + 3600


def writes(store: Bucket, clock: ManualClock) -> Writes:
    return Writes(store, LAYOUT, Pack("bucket/s3kv"), lambda: Capabilities(True, True, True), clock)


def write(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).put("key", NAME, [b"1"], tags={"t": "v"})


def write_another_tag(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).put("key", NAME, [b"3"], tags={"t": "w"})


def write_untagged(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).put("key", NAME, [b"2"])


def tag(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).tag("key", NAME, {"t": "v"})


def add_another_tag(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).tag("key", NAME, {"u": "v"})


def untag(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).tag("key", NAME, {}, replace=True)


def delete(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).delete("key", NAME)


def merge(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).update("key", NAME, lambda found: [b"merged"])


def hold(store: Bucket, clock: ManualClock) -> None:
    writes(store, clock).hold("key", NAME)


def collect(store: Bucket, clock: ManualClock) -> None:
    list(TagIndex(store, LAYOUT, clock).collect(store.server_time()))


def repair(store: Bucket, clock: ManualClock) -> int:
    return sum(TagIndex(store, LAYOUT, clock).repair([NAME]))


def live_tags_are_marked(store: MemoryStore, results: tuple[Any, ...]) -> None:
    found = store.tags(NAME)
    for name, value in ({} if found is None else found.tags).items():
        assert store.head(LAYOUT.marker(NAME, name, value)) is not None, (name, value, results)


def start(*, tagged: bool, object_lock: bool) -> tuple[MemoryStore, ManualClock]:
    clock = ManualClock()
    store = MemoryStore(clock, object_lock=object_lock)
    if tagged:
        write(store, clock)
        clock.advance(seconds=DAY)
    return store, clock


CASES: list[list[Operation]] = [
    [write, collect],
    [write, delete, collect],
    [write, untag, collect],
    [write, write_untagged, collect],
    [write, write_another_tag, collect],
    [tag, delete, collect],
    [tag, untag, collect],
    [tag, write_untagged, collect],
    [add_another_tag, write_untagged, collect],
    [merge, write_untagged, collect],
    [merge, untag, collect],
    [collect, collect, write],
    [repair, write_untagged, collect],
]


def named(operations: list[Operation]) -> str:
    return " ".join(operation.__name__ for operation in operations)


@pytest.mark.parametrize("tagged", [False, True], ids=["absent", "tagged long ago"])
@pytest.mark.parametrize("operations", CASES, ids=named)
def test_a_live_tag_is_always_marked(
    monkeypatch: pytest.MonkeyPatch, operations: list[Operation], tagged: bool
) -> None:
    store, clock = start(tagged=tagged, object_lock=False)
    ticks = 2 if len(operations) == 2 else 1
    states = explore(
        monkeypatch, store, clock, operations, live_tags_are_marked, ticks=ticks, tick_seconds=DAY
    )
    assert states > 20


@pytest.mark.parametrize("operations", CASES[:3], ids=named)
def test_a_live_tag_is_always_marked_where_versions_are_kept(
    monkeypatch: pytest.MonkeyPatch, operations: list[Operation]
) -> None:
    store, clock = start(tagged=True, object_lock=True)
    assert explore(
        monkeypatch, store, clock, operations, live_tags_are_marked, ticks=1, tick_seconds=DAY
    )


@pytest.mark.parametrize("other", [untag, write_untagged, tag, collect])
def test_a_lock_keeps_live_tags_marked(monkeypatch: pytest.MonkeyPatch, other: Operation) -> None:
    store, clock = start(tagged=True, object_lock=True)
    operations = [hold, other, collect]
    assert explore(
        monkeypatch, store, clock, operations, live_tags_are_marked, ticks=1, tick_seconds=DAY
    )


def test_repair_marks_what_another_tool_tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = start(tagged=False, object_lock=False)
    store.put(NAME, [b"theirs"], tags={"t": "v"})

    def marked_when_repaired(store: MemoryStore, results: tuple[Any, ...]) -> None:
        if results[0] is not RUNNING:
            live_tags_are_marked(store, results)

    operations = [repair, collect]
    assert explore(
        monkeypatch, store, clock, operations, marked_when_repaired, ticks=2, tick_seconds=DAY
    )


def test_the_model_finds_what_a_careless_writer_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data before its markers: the exploration must see the moment between the two."""
    store, clock = start(tagged=False, object_lock=False)

    def careless(store: Bucket, clock: ManualClock) -> None:
        store.put(NAME, [b"1"], tags={"t": "v"})
        TagIndex(store, LAYOUT, clock).announce(NAME, {"t": "v"})

    with pytest.raises(AssertionError):
        explore(monkeypatch, store, clock, [careless], live_tags_are_marked)


def test_old_markers_that_say_what_is_not_so_are_collected() -> None:
    store, clock = start(tagged=True, object_lock=False)
    delete(store, clock)
    assert store.head(MARKER) is not None
    collect(store, clock)
    assert store.head(MARKER) is None
    write_another_tag(store, clock)
    delete(store, clock)
    collect(store, clock)
    assert store.head(OTHER_MARKER) is not None  # its writer may still be about to write
