"""Arguments whose own code fails, lies or never ends: a key or a named refusal, never a crash."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import s3kv_flow as s3kv
from s3kv_flow.testing import memory_store


class RaisesAlways:
    def __eq__(self, other):
        raise RuntimeError("eq")

    def __hash__(self):
        raise RuntimeError("hash")

    def __getattr__(self, name):
        raise RuntimeError(f"getattr {name}")


class RaisingProperty:
    @property
    def value(self):
        raise ValueError("read")


class LyingClass:
    @property
    def __class__(self):
        return int


class RaisingList(list):
    def __len__(self):
        return 10**9

    def __iter__(self):
        raise RuntimeError("iter")


class NoReduction:
    def __reduce__(self):
        return 7


class RaisingReduction:
    def __reduce__(self):
        raise OSError("no")


class EndlessState:
    def __getstate__(self):
        return EndlessState()


class EndlessKey:
    def __s3kv_key__(self):
        return [EndlessKey()]


@pytest.fixture
def step():
    @memory_store().cached
    def step(x):
        return "computed"

    return step


@pytest.mark.parametrize("kind", [RaisingProperty, LyingClass])
def test_code_that_a_key_does_not_need_is_not_run(step, kind):
    assert step.key(kind()) == step.key(kind())


def test_comparisons_and_attributes_that_raise_are_not_asked(step):
    if sys.version_info >= (3, 11):
        assert step.key(RaisesAlways()) == step.key(RaisesAlways())
    else:  # pickling itself asks the object for its __getstate__ there
        with pytest.raises(s3kv.UnhashableArgumentError, match="getattr __getstate__"):
            step.key(RaisesAlways())


@pytest.mark.parametrize("kind", [RaisingList, NoReduction, RaisingReduction])
def test_code_that_fails_is_named_and_the_function_runs(step, kind, caplog):
    value = kind()
    with pytest.raises(s3kv.UnhashableArgumentError, match=r"^x\b"):
        step.key(value)
    assert step(value) == "computed"
    assert "computes without the cache: x" in caplog.text


@pytest.mark.parametrize("kind", [EndlessState, EndlessKey])
def test_what_never_ends_is_refused(step, kind):
    with pytest.raises(s3kv.UnhashableArgumentError, match="goes on without end"):
        step.key(kind())


def test_what_is_nested_deep_is_refused_where_there_is_no_thread_for_it(step, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    deep = []
    for _ in range(5000):
        deep = [deep]
    before = sys.getrecursionlimit(), threading.stack_size()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(s3kv.UnhashableArgumentError, match="no thread for it"):
        step.key(deep)
    assert step(deep) == "computed"
    assert (sys.getrecursionlimit(), threading.stack_size()) == before


def test_an_interruption_is_not_swallowed(step):
    class Interrupting:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step.key(Interrupting())


def test_an_argument_that_changes_meanwhile_gets_a_key_or_a_refusal(step):
    changing = {number: number for number in range(1000)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            changing[number % 5000] = number
            changing.pop(number * 7 % 5000, None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            try:
                assert step.key(changing).startswith("cache/")
            except s3kv.UnhashableArgumentError as error:
                assert str(error).startswith("x")  # noqa: PT017 - either is right
    finally:
        stop.set()
        thread.join()


def test_two_million_small_objects_have_a_key(step):
    many = [(number, str(number)) for number in range(700_000)]
    assert step.key(many) == step.key(list(many))


DEEP = """
import sys
from s3kv_flow.testing import memory_store

sys.setrecursionlimit(1_000_000)
deep = []
for _ in range(200_000):
    deep = [deep]
print(memory_store().cached(lambda x: 1, name="deep", version=1).key(deep))
"""


def test_a_raised_limit_on_recursion_does_not_overflow_the_stack():
    """In a process of its own, which it would end."""
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cache/deep/")
