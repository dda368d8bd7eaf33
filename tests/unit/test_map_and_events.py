"""Many calls at once, and what is told of them."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver, get_context
from pathlib import Path

import cloudpickle
import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import CountingStore, memory_store


@pytest.fixture
def counting() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture
def kv(counting: CountingStore) -> Iterator[s3kv.S3KV]:
    with memory_store(counting) as store:
        yield store


@pytest.fixture
def calls() -> list:
    return []


def test_results_come_in_order_and_only_misses_are_computed(kv, calls):
    @kv.cached(version=1)
    def square(x):
        time.sleep(0.002 * (x % 3))
        calls.append(x)
        return x * x

    square(3), square(5)
    calls.clear()
    assert square.map(range(40)) == [x * x for x in range(40)]
    assert sorted(calls) == [x for x in range(40) if x not in (3, 5)]
    assert square.map(iter(range(40))) == [x * x for x in range(40)]
    assert len(calls) == 38
    assert square.map([]) == []


def test_an_item_that_comes_twice_is_computed_once(kv, calls):
    @kv.cached(version=1)
    def square(x):
        time.sleep(0.01)
        calls.append(x)
        return x * x

    assert square.map([7] * 50) == [49] * 50
    assert calls == [7]


def test_failures_are_told_and_successes_kept(kv, calls):
    @kv.cached(version=1)
    def inverse(x):
        calls.append(x)
        return 1 / x

    with pytest.raises(s3kv.MapError, match=r"1 of 3 .*item 1.*ZeroDivisionError") as caught:
        inverse.map([1, 0, 2])
    assert caught.value.results == [1.0, None, 0.5]
    assert list(caught.value.failures) == [1]
    calls.clear()
    with pytest.raises(s3kv.MapError):
        inverse.map([1, 0, 2])
    assert calls == [0]


def test_max_workers_bounds_what_runs_at_once(kv):
    running, most, lock = 0, 0, threading.Lock()

    @kv.cached(version=1)
    def slow(x):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    slow.map(range(20), max_workers=3)
    assert most == 3


def test_an_endless_input_is_not_read_ahead_for_ever(kv):
    read = []

    def items():
        for n in range(100_000):
            read.append(n)
            yield n

    @kv.cached(version=1)
    def bad(x):
        if x == 5:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        bad.map(items(), max_workers=2)
    assert len(read) < 100


def test_modes_hold_for_what_is_mapped(kv, calls):
    @kv.cached(version=1)
    def square(x):
        calls.append(x)
        return x * x

    with s3kv.mode("off"):
        assert square.map([1, 1]) == [1, 1]
    assert calls == [1, 1]
    with s3kv.mode("require_hit"), pytest.raises(s3kv.MapError, match="MissError"):
        square.map([2])


def test_coroutines_are_mapped_too(kv, calls):
    @kv.cached(version=1)
    async def square(x):
        calls.append(x)
        await asyncio.sleep(0.001)
        if x == 13:
            raise ValueError(x)
        return x * x

    assert asyncio.run(square.map(range(10))) == [x * x for x in range(10)]
    with pytest.raises(s3kv.MapError) as caught:
        asyncio.run(square.map(range(10, 20), max_workers=2))
    assert caught.value.results[:3] == [100, 121, 144]
    assert sorted(calls) == list(range(20))


class _Pool:
    """Counts what it is given, and runs it in threads."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(4)
        self.submitted: list = []

    def submit(self, function, /, *args) -> Future:
        self.submitted.append(args)
        return self.threads.submit(function, *args)


def test_a_pool_is_given_misses_only_and_each_once(kv):
    square = kv.cached(lambda x: x * x, name="square", version=1)
    square(2)
    pool = _Pool()
    assert square.map([1, 2, 3, 3], pool=pool) == [1, 4, 9, 9]
    assert sorted(pool.submitted) == [(1,), (3,)]


MODULE = """
import os
import s3kv_flow as s3kv

@s3kv.cached
def square(x):
    with open(os.environ["COMPUTED"], "a") as file:
        file.write(f"{x} {os.getpid()}\\n")
    return x * x
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect):
    connection = connect("seaweed")
    (tmp_path / "squares_of_pools.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, value in {
        "PYTHONPATH": str(tmp_path),
        "COMPUTED": str(tmp_path / "computed"),
        "S3_ENDPOINT_URL": connection.endpoint_url,
        "S3_BUCKET": connection.bucket,
        "AWS_ACCESS_KEY_ID": connection.access_key_id,
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key,
        "S3KV_ROOT": f"pools-{tmp_path.name}",
        "S3KV_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    s3kv.configure(s3kv.S3KV())
    import squares_of_pools

    yield squares_of_pools
    import sys

    del sys.modules["squares_of_pools"]


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_process_pools_compute_and_all_share(module, start, tmp_path):
    if start == "forkserver":
        forkserver._forkserver._stop()  # one that another test started has its environment
    module.square(2)
    with ProcessPoolExecutor(2, mp_context=get_context(start)) as pool:
        assert module.square.map(range(8), pool=pool) == [x * x for x in range(8)]
        assert list(pool.map(module.square, range(8))) == [x * x for x in range(8)]
    lines = (tmp_path / "computed").read_text().split("\n")[:-1]
    assert len(lines) == 8
    assert module.square.map(range(8)) == [x * x for x in range(8)]


def test_cached_functions_travel_without_clients_or_secrets(module, monkeypatch):
    assert pickle.loads(pickle.dumps(module.square)) is module.square
    here = s3kv.S3KV()

    def triple(x):
        return 3 * x

    cached = here.cached(triple, version=1)
    assert cached(2) == 6
    data = cloudpickle.dumps(cached)
    import os

    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in data
    again = cloudpickle.loads(data)
    assert again(2) == 6
    assert again.key(2) == cached.key(2)
    assert again.cache_info().hit_count == 1


# Events


def test_events_tell_what_the_cache_does(kv):
    seen: list[s3kv.Event] = []
    stop = s3kv.on_event(seen.append)
    square = kv.cached(lambda x: x * x, name="square", version=1)
    square(1), square(1)
    stop()
    square(1)
    assert [(event.kind, event.name, event.detail) for event in seen] == [
        ("miss", "square", "absent"),
        ("store", "square", ""),
        ("hit", "square", "memory"),
    ]
    assert seen[1].size_bytes > 0


def test_a_hook_that_raises_breaks_nobody(kv, caplog):
    def broken(event):
        raise ValueError("dashboard is down")

    stop = s3kv.on_event(broken)
    try:
        assert kv.cached(lambda: 1, name="one", version=1)() == 1
    finally:
        stop()
    assert "dashboard is down" in caplog.text


def test_opentelemetry_has_counters_and_spans(kv):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from s3kv_flow.instrument import opentelemetry

    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    stop = opentelemetry.instrument(MeterProvider([reader]), tracers)
    square = kv.cached(lambda x: time.sleep(0.02) or x, name="square", version=1)
    with tracers.get_tracer("pipeline").start_as_current_span("step"):
        square(1), square(1)
    stop()
    data = reader.get_metrics_data()
    assert data is not None
    (metrics,) = data.resource_metrics[0].scope_metrics
    counted = {
        (metric.name, point.attributes["s3kv.kind"]): point.value
        for metric in metrics.metrics
        for point in metric.data.data_points
    }
    assert counted["s3kv.events", "hit"] == 1
    assert counted["s3kv.seconds", "hit"] >= 0.02
    computed, step = spans.get_finished_spans()
    assert computed.name == "s3kv.compute"
    assert computed.parent.span_id == step.context.span_id
    assert computed.end_time - computed.start_time >= 20_000_000
    assert [event.name for event in step.events] == ["s3kv.miss", "s3kv.store", "s3kv.hit"]


def test_threads_that_meet_the_default_store_first_share_it(monkeypatch, tmp_path):
    from s3kv_flow import _runtime

    monkeypatch.delenv("S3_BUCKET", raising=False)
    monkeypatch.setenv("S3KV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(_runtime._default, "store", None)
    made = []
    make = _runtime._from_environment

    def slowly():
        time.sleep(0.05)
        made.append(make())
        return made[-1]

    monkeypatch.setattr(_runtime, "_from_environment", slowly)
    square = s3kv.cached(lambda x: x * x, name="square", version=1)
    assert square.map(range(8)) == [x * x for x in range(8)]
    assert square.cache_info().errors == {}
    assert len(made) == 1
