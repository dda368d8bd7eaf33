"""One computes and all agree, whatever order requests come in, who stops after any, and when time passes.

What is run is the real `_cache` and `_lease`, as workers on machines of their own would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest

from s3kv_flow import Policy, _backend, _lease
from s3kv_flow._cache import Claim, FunctionCache, Pending
from s3kv_flow._config import Settings
from s3kv_flow._model import Hit
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.probe import Capabilities
from s3kv_flow.stores.protocols import Bucket
from s3kv_flow.testing import ManualClock

from .explore import RUNNING, Operation, explore

LEASE_SECONDS = 30
#: More than a lease lasts, and the second that a server's times leave out.
LONG = LEASE_SECONDS + 2
#: How often a worker looks again before the model lets it go: waiting for ever has no end of states.
LOOKS = 2

WAITING = "waiting"


POLICY = Policy(name="f", version=1, single_flight="cluster")


@lru_cache
def settings() -> Settings:
    given = {"bucket": "memory", "local_cache": "off", "lease_seconds": LEASE_SECONDS}
    return Settings.resolve(given)


def function() -> int:
    raise AssertionError("the model computes in its place")


@pytest.fixture(autouse=True)
def one_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No heart beats by itself: a model's worker beats when it is its turn."""
    monkeypatch.setattr(_lease.heart, "hold", lambda lease: None)
    monkeypatch.setitem(_backend._capabilities, ("", "memory"), Capabilities(True, True, True))


def cache_over(store: Bucket, clock: ManualClock) -> FunctionCache:
    backend = _backend.Backend(settings(), objects=store, clock=clock)
    return FunctionCache(function, POLICY, lambda: backend)


def worker(value: int, *, beats: int = 0, fails: bool = False) -> Operation:
    """Give a worker that would compute ``value``, and gives what it computed and what it returned."""

    def work(store: Bucket, clock: ManualClock) -> Any:
        cache = cache_over(store, clock)
        call = cache.call((), {})
        step = cache.begin(call)
        for _ in range(LOOKS):
            if isinstance(step, Pending):
                step = cache.again(step)
        if isinstance(step, Pending):
            return WAITING
        if isinstance(step, Hit):
            return False, step.value
        assert isinstance(step, Claim)
        for lease in step.leases._held:
            for _ in range(beats):
                lease.beat()
        if fails:
            cache.abandon(step, RuntimeError())
            return True, None
        return True, cache.publish(step, value, 10.0)

    return work


def stored(store: MemoryStore) -> Any:
    cache = cache_over(store, ManualClock())
    found = cache.find(cache.call((), {}))
    return found.value if isinstance(found, Hit) else None


def leases(store: MemoryStore) -> list[str]:
    return [meta.name for meta in store.list("s3kv/lease/")]


def done(results: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [result for result in results if result not in (RUNNING, WAITING)]


def all_agree(store: MemoryStore, results: tuple[Any, ...]) -> None:
    given = {value for _, value in done(results)}
    assert len(given) <= 1, results
    if given:
        assert given == {stored(store)}, results
    if RUNNING not in results:
        assert leases(store) == [], "a lease was left behind"


def one_computed(store: MemoryStore, results: tuple[Any, ...]) -> None:
    assert sum(computed for computed, _ in done(results)) <= 1, results


@pytest.mark.parametrize("count", [2, 3])
def test_where_no_time_passes_one_computes_and_all_agree(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    def holds(store: MemoryStore, results: tuple[Any, ...]) -> None:
        all_agree(store, results)
        one_computed(store, results)

    workers = [worker(number) for number in range(count)]
    clock = ManualClock()
    assert explore(monkeypatch, MemoryStore(clock), clock, workers, holds) > 50


@pytest.mark.parametrize("beats", [0, 1])
def test_a_worker_that_slept_through_its_lease_gives_what_another_published(
    monkeypatch: pytest.MonkeyPatch, beats: int
) -> None:
    workers = [worker(number, beats=beats) for number in range(2)]
    clock = ManualClock()
    states = explore(
        monkeypatch,
        MemoryStore(clock),
        clock,
        workers,
        all_agree,
        ticks=1,
        tick_seconds=LONG,
    )
    assert states > 100


def test_a_function_that_raised_leaves_the_turn_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()

    def holds(store: MemoryStore, results: tuple[Any, ...]) -> None:
        if RUNNING not in results and WAITING not in results:
            assert results in (((True, None), (True, 1)), ((False, 1), (True, 1)))
            assert stored(store) == 1
            assert leases(store) == []

    workers = [worker(0, fails=True), worker(1)]
    assert explore(monkeypatch, MemoryStore(clock), clock, workers, holds) > 20


def test_the_model_finds_a_publish_that_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(value: int) -> Callable[[Bucket, ManualClock], Any]:
        def work(store: Bucket, clock: ManualClock) -> Any:
            cache = cache_over(store, clock)
            call = cache.call((), {})
            if not isinstance(cache.begin(call), Claim):
                return WAITING
            cache.put(call, value)
            return True, value

        return work

    clock = ManualClock()
    with pytest.raises(AssertionError):
        explore(
            monkeypatch,
            MemoryStore(clock),
            clock,
            [careless(0), careless(1)],
            all_agree,
            ticks=1,
            tick_seconds=LONG,
        )
