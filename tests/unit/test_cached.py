"""What `cached` promises, over a bucket in memory: quick, and request by request."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import CountingStore, FailingStore, memory_store
from s3kv_flow.testing.clock import ManualClock


@pytest.fixture
def counting() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture
def kv(counting: CountingStore) -> Iterator[s3kv.S3KV]:
    with memory_store(counting, keyring=s3kv.Keyring.generate()) as store:
        yield store


@pytest.fixture
def calls() -> list:
    """Notes each computation of the functions under test."""
    return []


def test_a_hit_gives_the_value_without_calling_the_function(kv, calls):
    @kv.cached(version=1)
    def double(x):
        calls.append(x)
        return {"doubled": x * 2}

    assert double(2) == double(2) == {"doubled": 4}
    assert calls == [2]


def test_request_budgets(kv, counting, calls):
    @kv.cached(version=1)
    def double(x):
        calls.append(x)
        return x * 2

    double(1)
    assert counting.requests == {"get": 1, "put": 1}  # a miss
    counting.requests.clear()
    double(1)
    assert counting.requests == {}  # a hit from memory
    kv._backend.chain.local[0].clear()
    double(1)
    assert counting.requests == {}  # a hit from disk
    kv.clear_cache()
    double(1)
    assert counting.requests == {"get": 1}  # a hit from the bucket
    assert calls == [1]
    assert double.cache_info().hits == {"memory": 1, "disk": 1, "remote": 1}


@pytest.mark.parametrize("value", [None, [], "", 0, False, {}])
def test_empty_results_are_results(kv, calls, value):
    @kv.cached(version=1, ignore=("given",))
    def function(given):
        calls.append(given)
        return given

    assert function(value) == value
    assert function(value) == value
    assert calls == [value]


def test_exceptions_are_never_cached(kv, calls):
    @kv.cached(version=1)
    def fail(x):
        calls.append(x)
        raise ValueError(x)

    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            fail(7)
    assert calls == [7, 7]


def test_cache_if_says_no(kv, calls):
    @kv.cached(version=1, cache_if=lambda result: result is not None)
    def function(x):
        calls.append(x)

    function(1)
    function(1)
    assert calls == [1, 1]


def test_a_hit_is_a_private_object(kv):
    import numpy as np

    @kv.cached(version=1)
    def array(size):
        return np.arange(size)

    for size in (10, 100_000):  # from memory, and mapped from a file
        array(size)
        first = array(size)
        first[:] = -1
        assert array(size)[3] == 3


def test_small_flat_hits_are_private_however_often(kv):
    @kv.cached(version=1)
    def step(kind):
        return {"list": [1, "a", None], "dict": {"a": 1, "b": "x"}, "nested": {"a": [1]}}[kind]

    for kind, right in (("list", [1, "a", None]), ("dict", {"a": 1, "b": "x"})):
        for _ in range(5):
            found = step(kind)
            assert found == right
            found.clear()
    for _ in range(5):
        found = step("nested")
        assert found == {"a": [1]}
        found["a"].append(2)


@pytest.mark.parametrize("kind", ["tuple", "dict of frames", "mixed frame", "attrs"])
def test_what_is_done_to_a_hit_does_not_change_the_next(kv, kind):
    import numpy as np
    import pandas as pd

    @kv.cached(version=1, ignore=("make",), name=kind.replace(" ", "-"))
    def function(make):
        return make()

    def fresh():
        if kind == "tuple":
            return np.ones(3), {"m": np.zeros(2)}
        if kind == "dict of frames":
            return {"a": pd.DataFrame({"x": [1.0, 2.0]})}
        frame = pd.DataFrame({"m": [1, "a", None], "n": [1.0, 2.0, 3.0]})
        frame.attrs.update(z=[1], a=[2])
        return frame if kind == "mixed frame" else frame[["n"]]

    def spoil(value):
        if kind == "tuple":
            value[0][:] = 7
            value[1]["m"][:] = 7
        elif kind == "dict of frames":
            value["a"].loc[:, "x"] = 7.0
        else:
            value.loc[:, "n"] = 7.0
            value.attrs["z"].append(2)

    function(fresh)
    for _ in range(3):
        spoil(function(fresh))
    kv.clear_cache()
    for _ in range(3):
        spoil(function(fresh))
    found = function(fresh)
    if kind == "tuple":
        assert found[0].tolist() == [1, 1, 1]
        assert found[1]["m"].tolist() == [0, 0]
    elif kind == "dict of frames":
        assert found["a"]["x"].tolist() == [1, 2]
    else:
        assert found["n"].tolist() == [1, 2, 3]
        assert list(found.attrs.items()) == [("z", [1]), ("a", [2])]


def test_a_frame_of_thousands_of_columns_is_stored(kv):
    import numpy as np
    import pandas as pd

    @kv.cached(version=1)
    def wide(columns):
        return pd.DataFrame(np.zeros((2, columns)))

    wide(3000)
    kv.clear_cache()
    assert wide(3000).shape == (2, 3000)
    assert wide.cache_info().hits == {"remote": 1}


def test_position_keyword_and_default_are_one_key(kv):
    @kv.cached
    def function(a, b=2, *rest, c=3, **more):
        return a

    assert function.key(1) == function.key(1, 2) == function.key(b=2, a=1) == function.key(1, c=3)
    assert function.key(1) != function.key(1, 3)
    assert function.key(1, 2, 3) != function.key(1, 2, c=3, d=3)
    assert function.key(1, x=1, y=2) == function.key(1, y=2, x=1)


def test_the_key_is_a_path_of_name_and_digest(kv):
    @kv.cached(name="team/step")
    def function(a):
        return a

    key = function.key(1)
    *path, short, digest = key.split("/")
    assert path == ["cache", "team", "step"]
    assert digest.startswith(short)
    assert len(digest) == 32


def test_ignored_arguments_do_not_count_and_must_exist(kv):
    @kv.cached(ignore=("session",))
    def function(a, session):
        return a

    assert function.key(1, session=threading.Lock()) == function.key(1, None)
    with pytest.raises(s3kv.ConfigurationError, match="sesion"):
        kv.cached(ignore=("sesion",))(lambda a, session: a)


def test_key_function_says_what_to_hash(kv):
    @kv.cached(key=lambda path, **_: path.lower())
    def function(path, verbose=False):
        return path

    assert function.key("A", verbose=True) == function.key("a")
    assert function.key("b") != function.key("a")


def test_what_a_function_only_writes_to_does_not_count(kv):
    log, seen, counts = [], {}, {"calls": 0}

    @kv.cached
    def function(x):
        log.append(x)
        seen[x] = True
        counts["calls"] += 1
        return x

    assert [function(1), function(1)] == [1, 1]
    assert (log, seen, counts) == ([1], {1: True}, {"calls": 1})

    @kv.cached
    def reading(x):
        log.append(x)
        return len(log)

    assert [reading(1), reading(1)] == [2, 3]


def test_version_takes_the_place_of_the_code(kv):
    def one(x):
        return x

    def other(x):
        return x + 1

    keys = {
        kv.cached(name="n", version=version)(function).key(1)
        for function in (one, other)
        for version in (1, 2)
    }
    assert len(keys) == 2


def test_max_age_is_judged_when_read(counting):
    clock = ManualClock()
    kv = memory_store(counting, clock=clock)
    calls = []

    def function(x):
        calls.append(x)
        return x

    daily = kv.cached(max_age_days=1, name="n", version=1)(function)
    hourly = kv.cached(max_age=timedelta(hours=1), name="n", version=1)(function)
    daily(1)
    clock.advance(hours=2)
    assert daily(1) == 1
    assert calls == [1]
    assert hourly(1) == 1
    assert calls == [1, 1]
    clock.advance(hours=23)
    assert daily(1) == 1  # what `hourly` stored is 23 hours old
    assert calls == [1, 1]
    assert hourly.cache_info().misses == {"expired": 1}


def test_both_ages_are_a_type_error(kv):
    with pytest.raises(TypeError, match="not both"):
        kv.cached(max_age=timedelta(1), max_age_days=1)


def test_unknown_options_are_a_type_error(kv):
    with pytest.raises(TypeError, match="max_aeg"):
        kv.cached(max_aeg=1)


def test_generators_are_refused_with_the_way_out(kv):
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="returns a list"):
        kv.cached(numbers)


def test_methods_count_their_object(kv, calls):
    class Model:
        def __init__(self, factor):
            self.factor = factor

        @kv.cached
        def predict(self, x):
            calls.append(x)
            return self.factor * x

        @staticmethod
        @kv.cached
        def twice(x):
            return 2 * x

        @kv.cached
        @classmethod
        def made(cls, x):
            return cls(x).factor

    assert Model(2).predict(3) == Model(2).predict(3) == 6
    assert Model(3).predict(3) == 9
    assert calls == [3, 3]
    assert (Model.twice(2), Model.made(4)) == (4, 4)


def test_tags_are_written_with_the_entry(kv, counting):
    @kv.cached(version=1, tags={"team": "ml", "day": "{day}", "top": 3})
    def report(day):
        return day

    report("mon")
    name = kv._backend.layout.entry(report.key("mon"))
    assert counting.inner.tags(name).tags == {"team": "ml", "day": "mon", "top": "3"}
    assert report.peek("mon").tags == {"team": "ml", "day": "mon", "top": "3"}

    @kv.cached(version=1, tags=lambda arguments: {"half": str(arguments["x"] // 2)})
    def half(x):
        return x

    half(8)
    assert half.peek(8).tags == {"half": "4"}


def test_attributes_of_a_cached_function(kv, calls):
    @kv.cached(version=1)
    def square(x):
        """Square it."""
        calls.append(x)
        return x * x

    assert not square.contains(3)
    with pytest.raises(s3kv.MissError, match="nothing is cached"):
        square.get(3)
    assert square.get(3, default=None) is None
    square.put(10, 3)
    assert square.contains(3)
    assert square(3) == square.get(3) == 10
    assert calls == []
    assert square.refresh(3) == 9
    assert square(3) == 9
    square.invalidate(3)
    assert not square.contains(3)
    assert (square.__wrapped__(3), square.__name__, square.__doc__) == (9, "square", "Square it.")
    square(1)
    square(2)
    assert square.cache_clear().entries == 2
    assert not square.contains(1)


def test_peek_tells_of_the_entry(kv):
    @kv.cached(version=1)
    def square(x):
        time.sleep(0.02)
        return x * x

    square(3)
    entry = square.peek(3)
    assert entry.key == square.key(3)
    assert entry.codec == "json"
    assert entry.compute_seconds >= 0.02
    assert 0 <= entry.age_seconds < 60
    assert square.peek(4) is None


def test_one_computation_serves_all_threads(kv, calls):
    barrier = threading.Barrier(16)

    @kv.cached(version=1)
    def slow(x):
        calls.append(x)
        time.sleep(0.2)
        return [x]

    results = []

    def run():
        barrier.wait()
        results.append(slow(1))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert results == [[1]] * 16
    assert len(set(map(id, results))) == 16


def test_one_computation_serves_all_coroutines(kv, calls):
    @kv.cached(version=1)
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0.1)
        return [x]

    async def main():
        return await asyncio.gather(*[slow(1) for _ in range(50)])

    assert asyncio.run(main()) == [[1]] * 50
    assert calls == [1]


def test_coroutine_functions_await_what_asks_the_store(kv):
    @kv.cached(version=1)
    async def square(x):
        return x * x

    async def main():
        assert not await square.contains(3)
        await square.put(10, 3)
        assert await square(3) == await square.get(3) == 10
        assert await square.refresh(3) == 9
        await square.invalidate(3)
        assert await square.get(3, default="none") == "none"
        assert (await square.cache_clear()).entries == 0

    asyncio.run(main())


def test_a_cancelled_waiter_cancels_nobody_else(kv, calls):
    @kv.cached(version=1)
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0.2)
        return x

    async def main():
        first = asyncio.create_task(slow(1))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(slow(1)) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    values = asyncio.run(main())
    assert [values[0], *values[2:]] == [1, 1, 1]
    assert isinstance(values[1], asyncio.CancelledError)
    assert calls == [1]


@pytest.mark.parametrize("after", range(0, 60, 4))
def test_coroutines_cancelled_anywhere_leave_nothing_behind(kv, after):
    @kv.cached(version=1)
    async def slow(x):
        await asyncio.sleep(0.01)
        return x

    async def main():
        tasks = [asyncio.create_task(slow(n % 3)) for n in range(30)]
        await asyncio.sleep(after / 1000)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await asyncio.wait_for(asyncio.gather(slow(0), slow(1), slow(2)), 10)

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_cancelled_computation_lets_the_next_one_compute(kv, calls):
    @kv.cached(version=1)
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0.3 if len(calls) == 1 else 0)
        return x

    async def main():
        first = asyncio.create_task(slow(1))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(slow(1))
        await asyncio.sleep(0.05)
        first.cancel()
        return await asyncio.wait_for(second, 5)

    assert asyncio.run(main()) == 1
    assert calls == [1, 1]


def test_those_who_wait_share_the_exception(kv, calls):
    @kv.cached(version=1)
    def fail(x):
        calls.append(x)
        time.sleep(0.2)
        raise ValueError(x)

    failures = []

    def run():
        try:
            fail(1)
        except ValueError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4
    assert calls == [1]


def test_a_recursive_call_does_not_wait_for_itself(kv):
    @kv.cached(ignore=("depth",), version=1)
    def nested(x, depth):
        return x if depth == 0 else nested(x, depth - 1)

    assert nested(1, 3) == 1


def test_recursion_is_cached_level_by_level(kv, calls):
    @kv.cached(version=1)
    def fibonacci(n):
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(25) == 75025
    assert sorted(calls) == list(range(26))


# Faults


def test_an_unhashable_argument_is_named_and_the_function_runs(kv, calls, caplog):
    @kv.cached(version=1)
    def function(config):
        calls.append(1)
        return 1

    argument = {"client": {"lock": threading.Lock()}}
    assert function(argument) == function(argument) == 1
    assert calls == [1, 1]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "config['client']['lock']" in caplog.text
    assert "ignore=" in caplog.text
    assert function.cache_info().misses == {"unhashable": 2}
    with pytest.raises(s3kv.UnhashableArgumentError, match="config"):
        function.key(argument)

    strict = kv.cached(version=1, on_error="raise")(lambda config: 1)
    with pytest.raises(s3kv.UnhashableArgumentError):
        strict(argument)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_a_key_that_cannot_be_made_is_said_and_the_function_runs(kv, caplog, error):
    def fail(x):
        raise error("no key today")

    @kv.cached(key=fail)
    def function(x):
        return x

    assert function(1) == function(1) == 1
    assert function.cache_info().misses == {"unhashable": 2}
    assert caplog.text.count("no key today") == 1


def test_an_object_that_answers_to_any_name_has_a_key(kv):
    class Lazy:
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *_: 1

    service = Lazy()

    @kv.cached
    def function(x):
        return service.load(x)

    assert function(1) == function(1) == 1
    assert function.cache_info().hits == {"memory": 1}


def test_an_exception_in_cache_if_costs_the_entry_and_not_the_result(kv, caplog):
    @kv.cached(version=1, cache_if=lambda result: result.nope)
    def function(x):
        return x

    assert function(1) == 1
    assert "nope" in caplog.text


def test_a_misspelt_codec_or_tags_of_another_kind_are_refused_at_decoration(kv):
    with pytest.raises(s3kv.ConfigurationError, match="jason"):
        kv.cached(codec="jason")(lambda: 1)
    with pytest.raises(s3kv.ConfigurationError, match="mapping"):
        kv.cached(tags=["a"])
    with pytest.raises(s3kv.InvalidKeyError):
        kv.cached(name="")(lambda: 1)


def test_tags_are_filled_before_the_function_changes_its_arguments(kv):
    @kv.cached(version=1, tags=lambda arguments: {"n": len(arguments["x"])})
    def function(x):
        x.append(5)
        return 1

    function([])
    assert function.peek([]).tags == {"n": "0"}


def test_wrong_arguments_raise_what_the_function_would(kv):
    @kv.cached
    def function(a):
        return a

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        function()
    assert function.cache_info().misses == {}


def test_a_result_that_needs_pickle_without_a_keyring_is_given_and_not_stored(counting, calls):
    kv = memory_store(counting)

    @kv.cached(version=1)
    def pair(x):
        calls.append(x)
        return (x, x)

    with pytest.warns(s3kv.UnsafeCodecWarning, match="s3kv keys generate") as warned:
        assert pair(1) == (1, 1)
        assert pair(1) == (1, 1)
    assert len(warned) == 1
    assert calls == [1, 1]
    assert counting.requests["put"] == 0


def test_a_result_that_cannot_be_stored_is_given(kv, caplog):
    @kv.cached(version=1)
    def lock():
        return threading.Lock()

    assert lock().locked() is False
    assert "cannot be pickled" in caplog.text
    assert lock.cache_info().errors == {"encoding": 1}


def test_a_named_codec_that_would_change_the_value_is_refused(kv):
    @kv.cached(version=1, codec="json", on_error="raise")
    def pair():
        return (1, 2)

    with pytest.raises(s3kv.EncodingError, match="tuple"):
        pair()


@pytest.mark.parametrize("failure", [s3kv.StoreUnavailableError, s3kv.AccessDeniedError])
def test_a_broken_store_never_breaks_the_caller(failure, calls, caplog):
    failing = FailingStore(MemoryStore(), failure("down"))
    kv = memory_store(failing, local_cache="off")

    @kv.cached(version=1)
    def function(x):
        calls.append(x)
        return x

    assert [function(1), function(1)] == [1, 1]
    assert calls == [1, 1]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert function.cache_info().misses == {"store error": 2}
    strict = kv.cached(version=1, on_error="raise")(lambda x: x)
    with pytest.raises(failure):
        strict(1)
    failing.failure = None
    function(1)
    assert function.contains(1)  # recovered without a restart


def test_the_local_tier_serves_while_the_store_is_down(calls):
    failing = FailingStore(MemoryStore())
    clock = ManualClock()
    kv = memory_store(failing, clock=clock)

    @kv.cached(version=1)
    def function(x):
        calls.append(x)
        return x

    function(1)
    clock.advance(hours=1)  # past revalidate_after
    failing.failure = s3kv.StoreUnavailableError("down")
    assert function(1) == 1
    assert function(2) == function(2) == 2  # kept locally until the store is back
    assert calls == [1, 2]


def test_an_invalidation_elsewhere_is_seen_after_revalidate_after(counting, calls):
    clock = ManualClock()
    here, elsewhere = (memory_store(counting, clock=clock) for _ in range(2))

    def function(x):
        calls.append(x)
        return x

    ours = here.cached(name="n", version=1, revalidate_after=timedelta(minutes=1))(function)
    theirs = elsewhere.cached(name="n", version=1)(function)
    ours(1)
    theirs.invalidate(1)
    ours(1)
    assert calls == [1]
    clock.advance(minutes=2)
    ours(1)
    assert calls == [1, 1]


def test_a_revalidated_copy_costs_one_conditional_request(counting, calls):
    clock = ManualClock()
    kv = memory_store(counting, clock=clock)

    @kv.cached(version=1)
    def function(x):
        calls.append(x)
        return x

    function(1)
    clock.advance(minutes=6)
    counting.requests.clear()
    function(1)
    function(1)
    assert counting.requests == {"get": 1}
    assert calls == [1]


def test_the_first_of_two_writers_wins_and_both_get_its_value(counting):
    here, elsewhere = (memory_store(counting) for _ in range(2))

    @elsewhere.cached(name="n", version=1)
    def theirs(x):
        return "theirs"

    @here.cached(name="n", version=1)
    def ours(x):
        theirs(x)  # another machine is faster
        return "ours"

    assert ours(1) == "theirs"
    assert ours(1) == "theirs"


@pytest.mark.parametrize("damage", ["truncate", "flip", "replace"])
def test_a_damaged_object_is_computed_again_and_healed(kv, counting, calls, damage, caplog):
    @kv.cached(version=1)
    def function(x):
        calls.append(x)
        return {"value": list(range(x))}

    function(100)
    name = kv._backend.layout.entry(function.key(100))
    body = bytes(counting.inner.get(name).body)
    damaged = {
        "truncate": body[:-7],
        "flip": body[:-7] + bytes([body[-7] ^ 1]) + body[-6:],
        "replace": b'{"value": "poisoned"}',
    }[damage]
    counting.inner.put(name, [damaged])
    kv.clear_cache()
    assert function(100) == {"value": list(range(100))}
    assert calls == [100, 100]
    assert function.cache_info().misses == {"absent": 1, "unreadable": 1}
    kv.clear_cache()
    function(100)
    assert calls == [100, 100]


def test_an_entry_moved_to_another_key_is_refused(kv, counting, calls):
    @kv.cached(version=1)
    def function(x):
        calls.append(x)
        return x

    function(1)
    names = [kv._backend.layout.entry(function.key(x)) for x in (1, 2)]
    counting.inner.put(names[1], [bytes(counting.inner.get(names[0]).body)])
    assert function(2) == 2


def test_an_entry_sealed_with_an_unknown_key_is_left_alone(counting, calls, caplog):
    theirs = memory_store(counting, keyring=s3kv.Keyring.generate("theirs"))
    ours = memory_store(counting, keyring=s3kv.Keyring.generate("ours"))

    def function(x):
        calls.append(x)
        return x

    theirs.cached(name="n", version=1)(function)(1)
    mine = ours.cached(name="n", version=1)(function)
    assert mine(1) == 1
    assert mine.cache_info().misses == {"untrusted": 1}
    assert counting.requests["put"] == 1
    assert "'theirs'" in caplog.text
    theirs.clear_cache()
    assert theirs.cached(name="n", version=1)(function)(1) == 1
    assert calls == [1, 1]


def test_a_reader_with_a_keyring_refuses_unsealed_entries(counting, calls):
    unsealed = memory_store(counting)
    sealed = memory_store(counting, keyring=s3kv.Keyring.generate())

    def function(x):
        calls.append(x)
        return x

    unsealed.cached(name="n", version=1)(function)(1)
    assert sealed.cached(name="n", version=1)(function)(1) == 1
    assert calls == [1, 1]


def test_a_pickle_nobody_vouches_for_is_never_loaded(counting):
    trusting = memory_store(counting, allow_unsigned_pickle=True)
    trusting.cached(name="n", version=1)(Bomb)(1)
    careful = memory_store(counting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", s3kv.UnsafeCodecWarning)
        careful.cached(name="n", version=1)(lambda x: (x,))(1)
    assert Bomb.exploded == 0


class Bomb:
    """Unpickling it runs code."""

    exploded = 0

    def __init__(self, x):
        pass

    def __reduce__(self):
        return _explode, ()


def _explode():
    Bomb.exploded += 1


# The default store


def test_without_a_bucket_the_default_store_is_local_only(tmp_path, calls, caplog):
    caplog.set_level(logging.INFO, logger="s3kv_flow")

    @s3kv.cached(version=1)
    def pair(x):
        calls.append(x)
        return (x, {x})

    assert pair(1) == pair(1) == (1, {1})
    assert calls == [1]
    assert "on this machine only" in caplog.text
    keyring = tmp_path / "config" / "s3kv" / "local.keyring"
    assert keyring.stat().st_mode & 0o777 == 0o600
    with pytest.raises(s3kv.StoreUnavailableError, match="S3_BUCKET"):
        s3kv.default_store().add("key", 1)
    assert pair.cache_clear().entries == 1
    pair(1)
    assert calls == [1, 1]


def test_configure_chooses_the_store_of_functions_decorated_before(calls):
    @s3kv.cached(version=1)
    def function(x):
        calls.append(x)
        return x

    counting = CountingStore(MemoryStore())
    s3kv.configure(memory_store(counting))
    function(1)
    assert counting.requests == {"get": 1, "put": 1}


def test_policies_are_shared_and_overridden(kv):
    policy = s3kv.Policy(max_age_days=3, ignore="verbose")
    function = kv.cached(policy=policy, name="n")(lambda x, verbose=False: x)
    assert function.key(1, verbose=True) == function.key(1)
    assert function.key(1).startswith("cache/n/")


def test_a_default_that_changes_counts_though_the_arguments_are_plain():
    kv = memory_store()

    def total(x, more=[]):  # noqa: B006
        return x + sum(more)

    cached = kv.cached(total)
    assert cached(1) == 1
    first = cached.key(1)
    total.__defaults__[0].append(5)
    assert cached.key(1) != first
    assert cached(1) == 6


def test_plain_arguments_are_told_apart_by_their_types_and_code_by_its_globals():
    kv = memory_store()

    def shown(x):
        return repr(x)

    cached = kv.cached(shown, version=1)
    assert [cached(x) for x in (1, True, "1", b"1", None)] == ["1", "True", "'1'", "b'1'", "None"]
    assert [cached(x) for x in (True, 1, 1.0, 0.0, -0.0)] == ["True", "1", "1.0", "0.0", "-0.0"]
    assert cached("x" * 1000) == repr("x" * 1000)
    assert len({cached.key(x) for x in (1, True, "1", b"1", None, 1.0, 0.0, -0.0)}) == 8


def test_plain_trees_count_as_they_are_at_each_call(kv):
    def shown(x, **more):
        return repr((x, more))

    cached = kv.cached(shown, version=1)
    tree = {"a": [1, 2], "b": {"c": (True, None)}}
    first = cached.key(tree)
    assert cached(tree) == shown(tree)
    assert cached.key(tree) == cached.key(x={"b": {"c": (True, None)}, "a": [1, 2]}) == first
    tree["a"].append(3)
    assert cached.key(tree) != first
    assert cached(tree) == shown(tree)
    different = [[1], [True], [1.0], [-0.0], [0.0], ["1"], [b"1"], (1,), {1}, {1: 1}, {"1": 1}]
    assert len({cached.key(x) for x in different}) == len(different)
    assert [cached(x) for x in different] == [shown(x) for x in different]
    assert cached.key([1], y=2) != cached.key([1], z=2) != cached.key([1], y=[2])


def test_a_key_function_is_asked_at_each_call(kv):
    version = [1]

    @kv.cached(version=1, key=lambda names: (names, version[0]))
    def step(names):
        return version[0]

    assert [step(["a"]), step(["a"])] == [1, 1]
    version[0] = 2
    assert step(["a"]) == 2
