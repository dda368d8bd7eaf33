"""Small stacks, interrupts, and what changes amid a call."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import memory_store
from tests.fresh_interpreter import printed_by


@pytest.mark.parametrize("nested", ["(value,)", "[value]", "{'a': value}"])
@pytest.mark.parametrize(("kilobytes", "depth"), [(128, 900), (1024, 9000), (512, 9000)])
def test_what_is_nested_deep_has_a_key_on_a_small_stack(
    nested: str, kilobytes: int, depth: int
) -> None:
    assert printed_by(f"""
        import threading
        from s3kv_flow.keys.call import CallKey
        from s3kv_flow.keys.identity import Identity

        def f(a): return a

        keys, value = CallKey(f, Identity(f)), ()
        for _ in range({depth}):
            value = {nested}

        def run():
            keys.quick((value,), {{}})
            print(len({{keys.of((value,), {{}}) for _ in range(5)}}))

        threading.stack_size({kilobytes} * 1024)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    """) == ["1"]


def test_what_is_nested_deep_can_be_interrupted() -> None:
    assert printed_by("""
        import signal, sys
        from s3kv_flow.keys.call import CallKey
        from s3kv_flow.keys.identity import Identity

        def f(a): return a

        keys, value = CallKey(f, Identity(f)), []
        for _ in range(300_000):
            value = [value, 1.5]
        limit = sys.getrecursionlimit()
        signal.signal(signal.SIGALRM, signal.default_int_handler)  # as Ctrl-C
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            keys.of((value,), {})
        except KeyboardInterrupt:
            print("interrupted", sys.getrecursionlimit() == limit)
        print(len(keys.of(([[1]],), {})))
        while value:
            value = value[0]
    """) == ["interrupted", "True", "32"]


def test_the_order_of_a_dict_does_not_count_where_one_text_is_long() -> None:
    def token(value: Any) -> bytes:
        return Encoder().token(value)

    for size, count in ((9_000, 60), (600_000, 500), (5_000_000, 900), (100_000, 8)):
        rest = {f"field_{n:03}": "short" for n in range(count)}
        first, last = {"prompt": "x" * size, **rest}, {**rest, "prompt": "x" * size}
        assert token(first) == token(last)
        assert token([first, 1]) == token([last, 1])
        assert token({"cfg": first, "n": [1]}) == token({"n": [1], "cfg": last})
        assert token([first] * 20) == token([last] * 20)


def test_an_argument_that_changes_amid_a_call_is_not_remembered_by_what_it_was() -> None:
    amid: list[Any] = []

    class Global:
        def __s3kv_key__(self) -> int:
            while amid:
                amid.pop()()
            return 1

    a_global = Global()
    kv = memory_store(local_cache="off")

    @kv.cached
    def f(x: list[int]) -> list[int]:
        assert a_global
        return list(x)

    argument = [1]
    # Once the argument has been looked at, and the global is.
    f([0])
    amid += [lambda: argument.append(2), lambda: None]
    f(argument)
    assert f([1]) == [1]


def test_many_threads_that_change_what_others_pass_spoil_no_key() -> None:
    kv = memory_store(local_cache="off")

    @kv.cached
    def f(x: list[int]) -> int:
        return sum(x)

    shared, ends = [0] * 20, threading.Event()

    def change() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            shared[-1] = number % 50

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2000):
            f.key(shared)
            f.contains(shared)
    finally:
        ends.set()
        thread.join()
        sys.setswitchinterval(interval)
    expected = [
        memory_store(local_cache="off").cached(f.__wrapped__).key([0] * 19 + [n]) for n in range(50)
    ]
    assert [f.key([0] * 19 + [n]) for n in range(50)] == expected
    assert [f([0] * 19 + [n]) for n in range(50)] == list(range(50))


def test_large_numbers_are_not_kept_for_the_sake_of_a_look_up() -> None:
    kv = memory_store(local_cache="off")

    @kv.cached
    def f(n: int) -> int:
        return n % 7

    f(1 << 8_000_000)
    tracemalloc.start()
    try:
        for number in range(20):
            f((1 << 8_000_000) + number)
        assert tracemalloc.get_traced_memory()[0] < 4_000_000
    finally:
        tracemalloc.stop()


def test_the_recursion_limit_comes_back() -> None:
    limit = sys.getrecursionlimit()
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    kv: s3kv.S3KV = memory_store(local_cache="off")
    assert kv.cached(_same).key(deep)
    assert sys.getrecursionlimit() == limit


def _same(x: Any) -> Any:
    return x
