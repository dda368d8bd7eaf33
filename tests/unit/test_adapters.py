"""What integrations stand on: the calls of `cached`, run by somebody else, in any store."""

from __future__ import annotations

import asyncio
import functools

import pytest

import s3kv_flow as s3kv
from s3kv_flow.adapters import CachedCalls, WorkLease, calls_at, sweep, sweep_local, valid_tags
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import CountingStore, FailingStore, ManualClock, memory_store


def plain(x: int, y: int = 1) -> dict[str, int]:
    return {"sum": x + y}


def never() -> None:
    raise AssertionError("it is stored")


def test_entries_are_those_of_the_cached_function() -> None:
    kv = memory_store()
    cached, calls = kv.cached(plain), CachedCalls(plain, store=kv)
    cached(1)
    assert calls.call(1, y=1).key == cached.key(1)
    ran = calls.run(calls.call(1), never)
    assert (ran.value, ran.hit) == ({"sum": 2}, True)
    assert calls.store(calls.call(5), {"sum": 6}, seconds=2.5, tags={"a": "b"}, about={"n": [1]})
    assert cached(5) == {"sum": 6}
    entry = cached.peek(5)
    assert entry is not None
    assert (entry.compute_seconds, entry.tags) == (2.5, {"a": "b"})
    found = calls.look(calls.call(5))
    assert found is not None
    assert found.about == {"n": [1]}


def test_a_function_that_is_cached_already_brings_its_policy_and_store() -> None:
    kv = memory_store()
    cached = kv.cached(plain, name="other", tags={"t": "{x}"})
    calls = CachedCalls(cached)
    assert calls.call(1).key == cached.key(1)
    assert calls.call(1).tags == {"t": "1"}
    calls.run(calls.call(1), lambda: plain(1))
    assert cached.contains(1)


def test_keys_are_the_same_in_every_store() -> None:
    one, other = memory_store(), memory_store(root="elsewhere")
    calls = CachedCalls(plain, store=one)
    call = calls.call(1)
    calls.on(other).store(call, {"sum": 2})
    assert calls.on(other) is calls.on(other)
    assert calls.look(call) is None
    assert other.cached(plain).contains(1)


def test_coroutines_run_too_and_a_miss_costs_one_get_and_one_put() -> None:
    counting = CountingStore(MemoryStore())
    kv = memory_store(counting)
    calls = CachedCalls(plain, s3kv.Policy(single_flight="process"), kv)

    async def compute() -> dict[str, int]:
        return plain(3)

    async def twice() -> list[bool]:
        return [(await calls.run_async(calls.call(3), compute)).hit for _ in range(2)]

    assert asyncio.run(twice()) == [False, True]
    assert dict(counting.requests) == {"get": 1, "put": 1}


def test_modes_and_failures_compute() -> None:
    failing = FailingStore(MemoryStore())
    kv = memory_store(failing, local_cache="off")
    calls = CachedCalls(plain, store=kv)
    with s3kv.mode("off"):
        assert not calls.run(calls.call(1), lambda: 7).hit
        assert not calls.store(calls.call(1), 7)
        assert calls.look(calls.call(1)) is None
    calls.run(calls.call(1), lambda: 7)
    with s3kv.mode("refresh"):
        assert calls.run(calls.call(1), lambda: 8).value == 8
    failing.failure = s3kv.StoreUnavailableError("down")
    ran = calls.run(calls.call(1), lambda: 9)
    assert (ran.value, ran.hit) == (9, False)
    assert calls.look(calls.call(1)) is None


def test_another_processs_entry_is_read_by_its_key() -> None:
    kv = memory_store()
    cached = kv.cached(lambda x: [x], name="pack.<locals>.f")
    cached(1)
    calls, call = calls_at(cached.key(1), store=kv)
    found = calls.look(call)
    assert found is not None
    assert found.value == [1]
    with pytest.raises(s3kv.InvalidKeyError):
        calls_at("document", store=kv)


def test_sweeping_goes_by_age_prefix_and_tag_and_keeps_what_is_locked() -> None:
    clock = ManualClock()
    kv = memory_store(clock=clock, object_lock=True)
    f = kv.cached(lambda x: x, name="f", tags={"x": "{x}"})
    g = kv.cached(lambda x: x, name="g", legal_hold=True)
    f(1), f(2), g(1)
    kv.add("kept/document", 1)
    clock.advance(days=8)
    f(3)
    assert sweep(7, kv, tag=("x", "1"), dry_run=True).names == {"f": 1}
    swept = sweep(7, kv)
    assert (swept.count, swept.names) == (2, {"f": 2})
    assert swept.locked == (g.key(1),)
    assert (f.contains(1), f.contains(3), g.contains(1)) == (False, True, True)
    assert sweep(7, kv, prefix="kept/").count == 1
    for sweeping in (sweep, sweep_local):
        with pytest.raises(s3kv.ConfigurationError):
            sweeping(-1, kv)
    assert sweep_local(-0.0, kv, function="f").entries == 1


def test_a_lease_is_of_one_holder_and_no_cached_call_waits_for_it() -> None:
    kv = memory_store()
    cached = kv.cached(plain, single_flight="cluster")
    lease = WorkLease(cached.key(1), kv)
    assert lease.acquire()
    assert lease.acquire()
    assert cached(1) == {"sum": 2}
    assert not WorkLease(cached.key(1), kv).acquire()
    lease.release()
    assert not lease.is_held()


def test_any_tags_are_made_valid() -> None:
    made = valid_tags({"aws:a": 1, "b": "x" * 300, "clé": "🙂,", **{str(n): n for n in range(20)}})
    assert len(made) == 10
    assert made["a"] == "1"
    assert len(made["b"]) == 256
    assert made["clé"] == "__"


def test_what_a_decorator_made_of_a_cached_function_has_results_of_its_own() -> None:
    kv = memory_store()
    cached = kv.cached(plain)

    @functools.wraps(cached)
    def doubled(x: int, y: int = 1) -> dict[str, int]:
        return {"sum": 2 * cached(x, y)["sum"]}

    calls = CachedCalls(doubled, store=kv)
    assert calls.run(calls.call(1), lambda: doubled(1)).value == {"sum": 4}
    assert cached(1) == {"sum": 2}
    assert CachedCalls(cached).call(1).key == cached.key(1)
