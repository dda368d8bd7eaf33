"""Modes, stale windows, and what a store that does not answer costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

import s3kv_flow as s3kv
from s3kv_flow import _lease
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import CountingStore, FailingStore, ManualClock, memory_store

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counting(clock: ManualClock) -> CountingStore:
    return CountingStore(MemoryStore(clock))


@pytest.fixture
def kv(counting: CountingStore, clock: ManualClock) -> Iterator[s3kv.S3KV]:
    with memory_store(counting, clock=clock) as store:
        yield store


@pytest.fixture
def calls() -> list:
    return []


@pytest.fixture
def double(kv: s3kv.S3KV, calls: list):
    @kv.cached(version=1)
    def double(x):
        calls.append(x)
        return 2 * x

    return double


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Modes


def test_off_runs_the_function_and_asks_nobody(double, counting, calls):
    with s3kv.mode("off"):
        assert [double(1), double(1)] == [2, 2]
    assert calls == [1, 1]
    assert counting.requests == {}


def test_read_only_serves_hits_and_writes_nothing(kv, double, counting, calls):
    double(1)
    counting.requests.clear()
    with s3kv.mode("read_only"):
        assert [double(1), double(2), double(2)] == [2, 4, 4]
        for write in (
            lambda: kv.add("a", 1),
            lambda: kv.delete("a"),
            lambda: kv.tag_key("a", {"b": "c"}),
            lambda: double.invalidate(1),
        ):
            with pytest.raises(s3kv.AccessDeniedError, match="read_only"):
                write()
    assert calls == [1, 2, 2]
    assert not {"put", "delete", "tag"} & set(counting.requests)


def test_read_only_reads_tags_and_locks():
    kv = memory_store(object_lock=True)
    kv.add("a", 1, tags={"team": "x"})
    kv.apply_legal_hold("a")
    with s3kv.mode("read_only"):
        assert kv["a"] == 1
        assert kv.find_keys_by_tag_value("team", "x") == ["a"]
        assert kv.get_tags("a") == {"team": "x"}
        assert kv.is_legal_hold_applied("a")
        assert not kv.verify_locks()
        with pytest.raises(s3kv.AccessDeniedError):
            kv.release_legal_hold("a")


def test_refresh_computes_and_stores_again(double, calls):
    double(1)
    with s3kv.mode("refresh"):
        double(1)
    double(1)
    assert calls == [1, 1]


def test_offline_asks_and_fills_the_local_cache_alone(kv, double, counting, clock, calls):
    double(1)
    kv["known"] = "yes"
    clock.advance(days=3)
    counting.requests.clear()
    with s3kv.mode("offline"):
        assert [double(1), double(2), double(2)] == [2, 4, 4]
        with pytest.raises(s3kv.StoreUnavailableError, match="offline"):
            kv.add("a", 1)
        assert double.contains(1)
        assert double.get(3, default=None) is None
        assert kv["known"] == "yes"
        with pytest.raises(s3kv.StoreUnavailableError, match="offline"):
            kv["unknown"]
    assert counting.requests == {}
    assert calls == [1, 2]


def test_require_hit_raises_in_place_of_computing(double, calls):
    double(1)
    with s3kv.mode("require_hit"):
        assert double(1) == 2
        with pytest.raises(s3kv.MissError):
            double(2)
        with pytest.raises(s3kv.UnhashableArgumentError):
            double(threading.Lock())
    assert calls == [1]
    assert double(2) == 4


def test_a_mode_is_of_its_context_and_of_its_task(double):
    async def off() -> None:
        with s3kv.mode("off"):
            await asyncio.sleep(0.01)
            double(1)

    async def on() -> None:
        await asyncio.sleep(0.005)
        double(2)

    async def both() -> None:
        await asyncio.gather(off(), on())

    asyncio.run(both())
    assert (double.contains(1), double.contains(2)) == (False, True)
    with s3kv.mode("off"):
        thread = threading.Thread(target=double, args=(3,))
        thread.start()
        thread.join()
    assert double.contains(3)


def test_a_store_has_a_mode_and_so_has_the_environment(counting, monkeypatch):
    reader = memory_store(counting, mode="read_only")
    with pytest.raises(s3kv.AccessDeniedError):
        reader["a"] = 1
    with s3kv.mode("read_write"):
        reader["a"] = 1
    monkeypatch.setenv("S3KV_MODE", "offline")
    with pytest.raises(s3kv.StoreUnavailableError):
        memory_store(counting)["a"]
    monkeypatch.setenv("S3KV_MODE", "sometimes")
    with pytest.raises(s3kv.ConfigurationError, match="sometimes"):
        memory_store(counting)


# Freshness


def test_stale_while_revalidate_serves_the_old_value_and_computes_once(kv, clock, calls):
    go = threading.Event()

    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=DAY)
    def count():
        calls.append(len(calls))
        if len(calls) > 1:
            go.wait(10)
        return len(calls)

    assert count() == 1
    clock.advance(hours=30)
    assert [count() for _ in range(20)] == [1] * 20
    eventually(lambda: len(calls) == 2)
    go.set()
    eventually(lambda: count() == 2)
    assert len(calls) == 2


def test_beyond_the_window_nobody_is_served_the_old_value(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=timedelta(hours=1))
    def count():
        calls.append(1)
        return len(calls)

    count()
    clock.advance(hours=26)
    assert count() == 2


def test_without_windows_a_value_is_never_stale(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY)
    def count():
        calls.append(1)
        if len(calls) == 2:
            raise OSError("not today")
        return len(calls)

    count()
    clock.advance(days=2)
    with pytest.raises(OSError, match="not today"):
        count()
    assert count() == 3


def test_stale_if_error_serves_the_old_value_where_computing_raises(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY, stale_if_error=DAY)
    def count():
        calls.append(1)
        if len(calls) > 1:
            raise OSError("not today")
        return {"count": len(calls)}

    assert count() == {"count": 1}
    clock.advance(hours=30)
    assert count() == {"count": 1}
    assert len(calls) == 2
    assert count.cache_info().errors == {"stale-if-error": 1}
    clock.advance(hours=30)
    with pytest.raises(OSError, match="not today"):
        count()


def test_a_background_computation_that_raises_is_counted_and_the_old_value_served(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=DAY)
    def count():
        calls.append(1)
        if len(calls) == 2:
            raise OSError("not today")
        return len(calls)

    count()
    clock.advance(hours=30)
    assert count() == 1
    eventually(lambda: count.cache_info().errors == {"revalidate": 1})
    eventually(lambda: count() == 3)


@contextmanager
def no_threads() -> Iterator[None]:
    """The system gives no more of them."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


def test_without_a_thread_to_compute_again_the_old_value_is_served(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=DAY)
    def count():
        calls.append(1)
        return len(calls)

    count()
    clock.advance(hours=30)
    with no_threads():
        assert [count(), count()] == [1, 1]
    assert count.cache_info().errors == {"revalidate": 2}  # each tried
    eventually(lambda: count() == 2)


def test_without_a_thread_for_its_heartbeat_a_lease_is_held_as_long_as_it_lasts(
    kv, counting, caplog, monkeypatch
):
    caplog.set_level("DEBUG", "s3kv_flow")
    monkeypatch.setattr(_lease, "heart", _lease.Heart())  # the process's own may have its thread

    @kv.cached(version=1, single_flight="cluster")
    def double(x):
        return 2 * x

    with no_threads():
        assert [double(2), double(2)] == [4, 4]
    assert "heartbeat" in caplog.text
    assert list(counting.list("s3kv/lease/")) == []


def test_coroutines_revalidate_in_the_background_too(kv, clock, calls):
    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=DAY)
    async def count():
        calls.append(1)
        await asyncio.sleep(0.05)
        return len(calls)

    async def main() -> list[int]:
        first = await count()
        clock.advance(hours=30)
        stale = await asyncio.gather(*(count() for _ in range(10)))
        await asyncio.sleep(0.5)
        return [first, *stale, await count()]

    assert asyncio.run(main()) == [1] + [1] * 10 + [2]
    assert len(calls) == 2


def test_entries_of_one_moment_do_not_come_due_in_one_moment(kv, clock):
    @kv.cached(version=1, max_age=DAY, stale_while_revalidate=DAY)
    def same(x):
        return x

    for x in range(40):
        same(x)
    clock.advance(hours=22, minutes=48)  # 95 % of a day
    before = same.cache_info().miss_count
    for x in range(40):
        assert same(x) == x
    eventually(lambda: same.cache_info().miss_count - before >= 5)
    time.sleep(0.1)
    assert same.cache_info().miss_count - before <= 35


def test_windows_without_an_age_are_refused(kv):
    with pytest.raises(s3kv.ConfigurationError, match="never go stale"):
        kv.cached(lambda: 1, stale_if_error=DAY)
    with pytest.raises(s3kv.ConfigurationError, match="single_flight"):
        kv.cached(lambda: 1, single_flight="galaxy")


# A store that does not answer


def test_an_open_breaker_asks_nobody_and_closes_again_by_itself(clock, calls):
    failing = FailingStore(MemoryStore(clock), s3kv.StoreUnavailableError("down"))
    kv = memory_store(failing, clock=clock, local_cache="off")

    @kv.cached(version=1)
    def double(x):
        calls.append(x)
        return 2 * x

    for _ in range(20):
        assert double(1) == 2
    assert failing.requests == {"get": 5}
    failing.failure = None
    assert double(1) == 2
    assert failing.requests == {"get": 5}  # still left alone
    clock.advance(minutes=2)
    double(1)
    assert double.contains(1)
    assert len(calls) == 22


def test_of_all_callers_one_tries_whether_the_store_is_back(clock):
    failing = FailingStore(MemoryStore(clock), s3kv.StoreUnavailableError("down"))
    kv = memory_store(failing, clock=clock, local_cache="off")
    double = kv.cached(lambda x: 2 * x, version=1, name="double")
    for x in range(10):
        double(x)
    clock.advance(minutes=2)
    for x in range(10):
        double(x)
    assert failing.requests == {"get": 6}


def test_on_error_raise_raises_while_the_breaker_is_open(clock):
    failing = FailingStore(MemoryStore(clock), s3kv.StoreUnavailableError("down"))
    kv = memory_store(failing, clock=clock, local_cache="off")
    strict = kv.cached(lambda: 1, version=1, name="strict", on_error="raise")
    for _ in range(10):
        with pytest.raises(s3kv.StoreUnavailableError):
            strict()


def test_old_local_copies_are_served_and_the_store_left_alone(clock):
    failing = FailingStore(MemoryStore(clock))
    kv = memory_store(failing, clock=clock)
    double = kv.cached(lambda x: 2 * x, version=1, name="double")
    double(1)
    clock.advance(hours=1)  # S3 has to be asked
    failing.failure = s3kv.StoreUnavailableError("down")
    failing.requests.clear()
    assert [double(1) for _ in range(30)] == [2] * 30
    assert failing.requests == {"get": 5}
    clock.advance(hours=1)
    failing.failure = None
    assert double(1) == 2
    failing.requests.clear()
    assert double(1) == 2
    assert failing.requests == {}  # confirmed a moment ago


def test_a_lease_that_cannot_be_had_costs_nobody_the_result(clock, caplog):
    failing = FailingStore(MemoryStore(clock))
    kv = memory_store(failing, clock=clock, local_cache="off")
    double = kv.cached(lambda x: 2 * x, version=1, name="double", single_flight="cluster")
    double(1)
    send = failing.request

    def no_leases(verb, name, call):
        if "/lease/" in name:
            raise s3kv.AccessDeniedError("no leases for you")
        return send(verb, name, call)

    failing.request = no_leases
    assert double(2) == 4
    assert double.contains(2)
    assert "no leases for you" in caplog.text


def test_a_refresh_after_an_outage_replaces_the_old_value(clock, calls):
    failing = FailingStore(MemoryStore(clock))
    kv = memory_store(failing, clock=clock, local_cache="off")

    @kv.cached(version=1)
    def count():
        calls.append(1)
        return len(calls)

    count()
    failing.failure = s3kv.StoreUnavailableError("down")
    for _ in range(6):
        count()
    clock.advance(minutes=2)
    failing.failure = None
    assert count.refresh() == 8
    clock.advance(minutes=2)
    assert count() == 8


# Locked as they are written


def test_entries_are_locked_as_they_are_written():
    kv = memory_store(object_lock=True)

    @kv.cached(version=1, retention_days=2, legal_hold=True)
    def report(x):
        return x

    report(1)
    lock = kv.get_lock(report.key(1))
    assert (lock.mode, lock.legal_hold) == ("GOVERNANCE", True)
    assert lock.retain_until is not None
    left = lock.retain_until - datetime.now(timezone.utc)
    assert timedelta(days=1.99) < left < timedelta(days=2.01)
    with pytest.raises(s3kv.KeyLockedError):
        report.invalidate(1)
    assert report(1) == 1


def test_what_cannot_be_locked_is_given_and_not_stored(caplog):
    kv = memory_store()
    report = kv.cached(lambda x: x, version=1, name="report", retention_days=2)
    assert report(1) == 1
    assert not report.contains(1)
    assert "Object Lock" in caplog.text
