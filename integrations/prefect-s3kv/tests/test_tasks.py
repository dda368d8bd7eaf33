"""What a task's results do: computed once, whoever asks, and never in the way."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from prefect import Task, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.context import SyncClientContext
from prefect.results import ResultStore
from prefect.transactions import transaction

import s3kv_flow as s3kv
from prefect_s3kv import S3KVLockManager, S3KVPolicy, S3KVSerializer, S3KVStorage, cached_task
from s3kv_flow.testing import ManualClock
from s3kv_flow.testing.stores import CountingStore

pytestmark = pytest.mark.usefixtures("kv", "engine")

calls: list[object] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def plain(day: str, top: int = 3) -> dict[str, object]:
    calls.append(day)
    return {"day": day, "top": (day, top)}


def test_a_second_run_is_cached_and_gives_the_same() -> None:
    features = cached_task(plain)
    first, second = (features("monday", return_state=True) for _ in range(2))
    assert [first.name, second.name] == ["Completed", "Cached"]
    assert first.result() == second.result() == {"day": "monday", "top": ("monday", 3)}
    assert features(day="monday", top=3, return_state=True).name == "Cached"
    assert calls == ["monday"]


def test_entries_are_those_of_the_plain_cached_function(kv: s3kv.S3KV) -> None:
    features, cached = cached_task(plain, version=1), kv.cached(plain, version=1)
    assert cached("script") == plain("script")
    assert features("script", return_state=True).name == "Cached"
    features("task")
    before = len(calls)
    assert cached("task") == {"day": "task", "top": ("task", 3)}
    assert len(calls) == before
    assert cached.peek("task").compute_seconds > 0


def test_a_hit_in_a_new_process_costs_one_get(counting: CountingStore, kv: s3kv.S3KV) -> None:
    features = cached_task(plain)
    features("monday")
    kv.clear_cache()
    counting.requests.clear()
    assert features("monday", return_state=True).name == "Cached"
    assert dict(counting.requests) == {"get": 1}


def test_a_hit_costs_one_get_without_a_local_cache_too(clock: ManualClock) -> None:
    counting = CountingStore(s3kv.testing.stores.MemoryStore(clock))
    s3kv.configure(s3kv.testing.memory_store(counting, local_cache="off"))

    @cached_task
    def number(x: int) -> int:
        return x

    number(1)
    counting.requests.clear()
    assert number(1, return_state=True).name == "Cached"
    assert dict(counting.requests) == {"get": 1}


def test_results_of_any_type_come_back_as_they_were() -> None:
    import numpy as np
    import pandas as pd

    values = [None, 0, (1, (2,)), {1: 2}, {"x"}, b"\0", np.arange(5.0), pd.DataFrame({"a": [1, 2]})]

    @cached_task
    def give(position: int) -> object:
        return values[position] if len(calls) >= 0 else calls

    for position, value in enumerate(values):
        give(position)
        state = give(position, return_state=True)
        assert state.name == "Cached"
        found = state.result()
        assert type(found) is type(value)
        assert repr(found) == repr(value)


def test_the_age_is_judged_when_it_is_read(clock: ManualClock) -> None:
    features = cached_task(plain, version=1, max_age_days=30)
    features("monday")
    clock.advance(days=2)
    assert features("monday", return_state=True).name == "Cached"
    shorter = cached_task(plain, version=1, max_age_days=1)
    assert shorter("monday", return_state=True).name == "Completed"


def test_prefects_own_expiration_holds_too(kv: s3kv.S3KV) -> None:
    past = cached_task(plain, version=1, cache_expiration=timedelta(seconds=-1))
    past("monday")
    assert past("monday", return_state=True).name == "Completed"
    future = cached_task(plain, version=2, cache_expiration=timedelta(hours=1))
    future("monday")
    assert future("monday", return_state=True).name == "Cached"


def test_refresh_cache_computes_and_stores_again() -> None:
    features = cached_task(plain)
    features("monday")
    again = features.with_options(refresh_cache=True)
    assert again("monday", return_state=True).name == "Completed"
    assert calls == ["monday"] * 2
    assert features("monday", return_state=True).name == "Cached"


def test_with_options_keeps_what_it_was() -> None:
    features = cached_task(plain, tags={"a": "b"}, task_tags=["not-sent"], retries=1)
    other = features.with_options(name="other", retries=3)
    assert isinstance(other, Task)
    assert (other.name, other.retries, other.tags) == ("other", 3, {"not-sent"})
    assert other.with_options(tags=[]).result_storage == features.result_storage


def test_persist_result_false_stores_nothing(kv: s3kv.S3KV) -> None:
    features = cached_task(plain, persist_result=False)
    for _ in range(2):
        assert features("monday", return_state=True).name == "Completed"
    assert list(kv.iter_keys("cache/")) == []


def test_disable_caching_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_TASKS_DISABLE_CACHING, temporary_settings

    with temporary_settings({PREFECT_TASKS_DISABLE_CACHING: True}):
        features = cached_task(plain, version=3)
        for _ in range(2):
            assert features("monday", return_state=True).name == "Completed"


def test_a_result_storage_key_takes_the_place_of_the_policy(kv: s3kv.S3KV) -> None:
    stored = task(plain, result_storage_key="fixed-{parameters[day]}")
    stored.result_storage = S3KVStorage()  # saved blocks can be given at once
    stored("monday")
    assert stored("monday", return_state=True).name == "Cached"
    assert kv.exists("prefect/fixed-monday")


def test_a_record_tells_nothing_that_another_process_would_have_to_know(kv: s3kv.S3KV) -> None:
    features = cached_task(plain)
    features("monday")
    state = features("monday", return_state=True)
    metadata = state.data.metadata
    assert metadata.serializer.type == "pickle"
    assert metadata.storage_key.startswith("cache/")
    # Whoever has the key and the block reads the result, without the task.
    from prefect_s3kv import calls as known

    known._known.clear()
    again = ResultStore(result_storage=S3KVStorage()).read(metadata.storage_key)
    assert again.result == {"day": "monday", "top": ("monday", 3)}


def test_a_serializer_of_ours_for_large_arrays(kv: s3kv.S3KV) -> None:
    import numpy as np

    @cached_task(result_serializer=S3KVSerializer())
    def array(x: int) -> object:
        return np.arange(x)

    array(10_000)
    state = array(10_000, return_state=True)
    assert state.name == "Cached"
    assert state.result()[-1] == 9_999


def test_async_tasks_are_cached_too() -> None:
    @cached_task
    async def fetch(day: str) -> str:
        calls.append(day)
        return day.upper()

    async def twice() -> list[str]:
        return [(await fetch("monday", return_state=True)).name for _ in range(2)]

    assert asyncio.run(twice()) == ["Completed", "Cached"]


def test_a_task_without_arguments_is_cached() -> None:
    @cached_task
    def answer() -> int:
        return 42

    assert [answer(return_state=True).name for _ in range(2)] == ["Completed", "Cached"]


def test_a_generator_as_an_argument_is_not_drained(caplog: pytest.LogCaptureFixture) -> None:
    @cached_task
    def total(numbers: object) -> int:
        return sum(numbers)  # type: ignore[call-overload]

    assert total(iter([1, 2, 3])) == 6
    assert total(n for n in (1, 2, 3)) == 6


def test_what_has_no_key_is_named_computed_and_not_stored(kv: s3kv.S3KV, capsys) -> None:
    @cached_task
    def use(config: object) -> int:
        return 1

    state = use({"client": {"lock": threading.Lock()}}, return_state=True)
    assert (state.name, state.result()) == ("Completed", 1)
    assert list(kv.iter_keys("cache/")) == []
    with pytest.raises(s3kv.UnhashableArgumentError, match=r"config\['client'\]\['lock'\]"):
        S3KVPolicy().compute_key(
            type("Context", (), {"task": use}),
            {"config": {"client": {"lock": threading.Lock()}}},
            {},
        )


def test_ignored_arguments_do_not_count() -> None:
    @cached_task(ignore=("session",))
    def use(day: str, session: object = None) -> str:
        return day

    use("monday", threading.Lock())
    assert use("monday", threading.Lock(), return_state=True).name == "Cached"


def test_generator_tasks_are_refused_with_the_way_out() -> None:
    def rows():
        yield 1

    with pytest.raises(TypeError, match="returns a list"):
        cached_task(rows)


def test_a_changed_helper_computes_again(tmp_path, monkeypatch) -> None:
    import importlib
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    text = "def helper(x):\n    return x + {0}\n\ndef step(x):\n    return helper(x)\n"
    names = []
    for version in (1, 1, 2):
        (tmp_path / "steps.py").write_text(text.format(version))
        sys.modules.pop("steps", None)
        importlib.invalidate_caches()
        module = importlib.import_module("steps")
        names.append(cached_task(module.step)(1, return_state=True).name)
        (tmp_path / "__pycache__").exists() and __import__("shutil").rmtree(
            tmp_path / "__pycache__"
        )
    assert names == ["Completed", "Cached", "Completed"]


def test_a_task_that_a_task_names_counts_by_its_function() -> None:
    @cached_task
    def inner(x: int) -> int:
        return x

    @cached_task
    def outer(x: int) -> int:
        return inner.fn(x)

    assert [outer(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]


def test_a_task_that_failed_is_not_cached_and_retries_are() -> None:
    @cached_task(retries=2)
    def flaky(x: int) -> int:
        calls.append(x)
        if len(calls) < 2:
            raise OSError("not now")
        return x

    # `calls` is read, so it counts: only what is written to does not.
    state = flaky(7, return_state=True)
    assert state.result() == 7


def test_a_transaction_that_is_rolled_back_stores_nothing(kv: s3kv.S3KV) -> None:
    features = cached_task(plain)
    with pytest.raises(RuntimeError, match="no"), transaction():
        features("monday")
        raise RuntimeError("no")
    assert list(kv.iter_keys("cache/")) == []
    with transaction():
        features("monday")
        assert list(kv.iter_keys("cache/")) == []
    assert len(list(kv.iter_keys("cache/"))) == 1
    assert features("monday", return_state=True).name == "Cached"


def test_a_result_that_was_deleted_meanwhile_is_computed_again(kv: s3kv.S3KV) -> None:
    features, cached = cached_task(plain, version=1), kv.cached(plain, version=1)
    features("monday")
    cached.invalidate("monday")
    assert features("monday", return_state=True).name == "Completed"


def test_a_result_that_cannot_be_stored_is_given_all_the_same() -> None:
    s3kv.configure(s3kv.testing.memory_store())  # no keyring, and what it returns needs pickle

    @cached_task
    def pair() -> object:
        return {"pair": (1, 2)}

    for _ in range(2):
        state = pair(return_state=True)
        assert (state.name, state.result()) == ("Completed", {"pair": (1, 2)})
    assert list(s3kv.default_store().iter_keys("cache/")) == []


def test_s3_down_computes_counts_and_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    failing = s3kv.testing.FailingStore(
        s3kv.testing.stores.MemoryStore(), s3kv.StoreUnavailableError("down")
    )
    s3kv.configure(s3kv.testing.memory_store(failing))
    features = cached_task(plain)
    for _ in range(3):
        assert features("monday", return_state=True).result()["day"] == "monday"
    assert calls == ["monday"] * 3
    said = [one for one in caplog.records if one.name in ("s3kv_flow", "prefect_s3kv")]
    assert 1 <= len(said) <= 2
    failing.failure = None


@pytest.mark.parametrize("tags", [{"a<>,b": "x!{day}"}, {f"t{n}": "v" for n in range(20)}])
def test_tags_that_s3_refuses_are_made_valid(kv: s3kv.S3KV, tags: dict[str, str]) -> None:
    features = cached_task(plain, tags=tags)
    features("monday")
    (key,) = kv.iter_keys("cache/")
    found = kv.get_tags(key)
    assert 0 < len(found) <= 10
    assert features("monday", return_state=True).name == "Cached"


def test_tags_find_and_delete_the_results_of_a_task(kv: s3kv.S3KV) -> None:
    features = cached_task(plain, tags={"day": "{day}"})
    features("monday"), features("tuesday")
    (key,) = kv.find_keys_by_tag_value("day", "monday")
    assert kv.get_tags(key)["prefect-task"] == "plain"
    assert kv.delete_by_tag("prefect-task", "plain").count == 2
    assert features("monday", return_state=True).name == "Completed"


def test_a_locked_result_is_kept(clock: ManualClock) -> None:
    keyring = s3kv.Keyring.generate()
    s3kv.configure(s3kv.testing.memory_store(clock=clock, object_lock=True, keyring=keyring))
    features = cached_task(plain, version=1, legal_hold=True)
    features("monday")
    kv = s3kv.default_store()
    (key,) = kv.iter_keys("cache/")
    assert kv.is_legal_hold_applied(key)


def test_many_threads_map_over_a_thousand_items() -> None:
    from concurrent.futures import ThreadPoolExecutor

    @cached_task
    def square(x: int) -> int:
        return x * x

    def call(x: int) -> tuple[str, int]:
        with SyncClientContext.get_or_create():
            state = square(x, return_state=True)
            return state.name, state.result()

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(call, range(200)))
        second = list(pool.map(call, range(200)))
    assert [value for _, value in first] == [x * x for x in range(200)]
    assert {name for name, _ in second} == {"Cached"}


def test_policies_of_prefect_can_be_added() -> None:
    @task(cache_policy=S3KVPolicy() + TASK_SOURCE)
    def one(x: int) -> int:
        return x

    one.result_storage = S3KVStorage()
    assert [one(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]

    @task(cache_policy=INPUTS + S3KVPolicy())
    def two(x: int) -> int:
        return x

    two.result_storage = S3KVStorage()
    assert [two(1, return_state=True).name for _ in range(2)] == ["Completed", "Cached"]


def test_serializable_tasks_within_tasks_do_not_wait_for_themselves() -> None:
    locks = S3KVLockManager.from_env(acquire_timeout_seconds=30)

    @cached_task(
        version=1,
        name="same",
        ignore=("depth",),
        isolation_level="SERIALIZABLE",
        lock_manager=locks,
    )
    def recursive(x: int, depth: int = 0) -> int:
        return recursive(x, depth + 1) if depth < 3 else x

    assert recursive(5, return_state=True).result() == 5
    assert recursive(5, return_state=True).name == "Cached"
    assert locks._locks == {}
