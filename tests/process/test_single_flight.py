"""Many processes meet one cold key: one computes, all get its value, and none waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import s3kv_flow as s3kv
from s3kv_flow._lease import ClusterLease
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import ManualClock, memory_store

WORKER = """
import os, sys, time
import s3kv_flow as s3kv

level, seconds, folder, name = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]
if level == "cluster":  # each as if on a machine of its own
    folder_of_mine = f"{folder}/{os.getpid()}"
else:
    folder_of_mine = f"{folder}/shared"
kv = s3kv.S3KV(cache_dir=folder_of_mine, root=name, lease_seconds=2)

@kv.cached(name="slow", version=1, single_flight=level)
def slow(x):
    with open(f"{folder}/computed", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return os.getpid()

def leaving(x):
    open(f"{folder}/computed", "a").write(f"{os.getpid()}\\n")
    os._exit(3)

if seconds < 0:  # whose function ends the process
    slow = kv.cached(leaving, name="slow", version=1, single_flight=level)

print("ready", flush=True)
sys.stdin.readline()
print(slow(1), flush=True)
"""


class Workers:
    def __init__(self, connection: Connection, folder: Path, root: str) -> None:
        self.folder, self.root = folder, root
        self.environ = {
            **os.environ,
            "S3_ENDPOINT_URL": connection.endpoint_url or "",
            "S3_BUCKET": connection.bucket,
            "AWS_ACCESS_KEY_ID": connection.access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": connection.secret_access_key or "",
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, count: int, level: str, seconds: float) -> list[subprocess.Popen[str]]:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, level, str(seconds), str(self.folder), self.root],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self.environ,
                text=True,
            )
            for _ in range(count)
        ]
        self.running += started
        for worker in started:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        return started

    def go(self, workers: list[subprocess.Popen[str]]) -> None:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()

    def answers(self, workers: list[subprocess.Popen[str]]) -> list[str]:
        return [worker.communicate(timeout=60)[0].strip() for worker in workers]

    def computed(self) -> list[str]:
        file = self.folder / "computed"
        return file.read_text().split() if file.exists() else []


@pytest.fixture(params=["seaweed", "seaweed-lock"])
def workers(request: pytest.FixtureRequest, connect: Callable[[str], Connection], tmp_path: Path):
    made = Workers(connect(request.param), tmp_path, f"flight-{tmp_path.name}-{request.param}")
    yield made
    for worker in made.running:
        worker.kill()
        worker.communicate()


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("level", ["auto", "host", "cluster"])
def test_one_of_many_processes_computes(workers: Workers, level: str) -> None:
    started = workers.start(8, level, 1.0)
    workers.go(started)
    answers = workers.answers(started)
    assert len(workers.computed()) == 1
    assert set(answers) == set(workers.computed())


@pytest.mark.parametrize("level", ["host", "cluster"])
def test_the_dead_are_not_waited_for(workers: Workers, level: str) -> None:
    first, second = workers.start(1, level, 60.0), workers.start(2, level, 0.1)
    workers.go(first)
    until(workers.computed)
    workers.go(second)
    time.sleep(0.5)
    os.kill(first[0].pid, signal.SIGKILL)
    answers = workers.answers(second)
    assert len(set(answers)) == 1
    assert len(workers.computed()) == 2


@pytest.mark.parametrize("level", ["host", "cluster"])
def test_who_was_stopped_and_wakes_gives_the_value_of_whoever_took_over(
    workers: Workers, level: str
) -> None:
    first, second = workers.start(1, level, 1.0), workers.start(2, level, 0.1)
    workers.go(first)
    until(workers.computed)
    os.kill(first[0].pid, signal.SIGSTOP)
    try:
        workers.go(second)
        answers = workers.answers(second)
    finally:
        os.kill(first[0].pid, signal.SIGCONT)
    assert workers.answers(first) == answers[:1]
    assert len(set(answers)) == 1
    assert len(workers.computed()) == 2


@pytest.mark.parametrize("level", ["host", "cluster"])
def test_a_function_that_ends_its_process_is_taken_over(workers: Workers, level: str) -> None:
    first, second = workers.start(1, level, -1.0), workers.start(2, level, 0.1)
    workers.go(first)
    until(workers.computed)
    workers.go(second)
    answers = workers.answers(second)
    assert len(set(answers)) == 1
    assert first[0].wait(30) == 3
    assert len(workers.computed()) == 2


@pytest.mark.parametrize("workers", ["seaweed"], indirect=True)
def test_fifty_processes_on_one_cold_key_compute_once(workers: Workers) -> None:
    started = workers.start(50, "cluster", 1.0)
    workers.go(started)
    answers = workers.answers(started)
    assert len(workers.computed()) == 1
    assert set(answers) == set(workers.computed())


def test_a_thousand_threads_on_one_key_compute_once() -> None:
    kv = memory_store()
    computed, values = [], []

    @kv.cached(version=1)
    def slow(x: int) -> list[int]:
        computed.append(x)
        time.sleep(0.3)
        return [x]

    before = threading.stack_size(256 * 1024)
    try:
        threads = [threading.Thread(target=lambda: values.append(slow(1))) for _ in range(1000)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(before)
    for thread in threads:
        thread.join(60)
    assert computed == [1]
    assert values == [[1]] * 1000
    values[0].append(2)  # each has one of its own
    assert values[1:] == [[1]] * 999


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interruption_is_ours_alone_and_an_error_is_everybodys(
    raised: type[BaseException],
) -> None:
    kv = memory_store()
    started, outcomes, computed = threading.Event(), [], []

    @kv.cached(version=1)
    def slow() -> str:
        computed.append(1)
        if len(computed) == 1:
            started.set()
            time.sleep(0.3)
            raise raised("here")
        return "computed"

    def call() -> None:
        try:
            outcomes.append(slow())
        except BaseException as error:
            outcomes.append(type(error).__name__)

    first = threading.Thread(target=call)
    first.start()
    started.wait(10)
    others = [threading.Thread(target=call) for _ in range(5)]
    for thread in others:
        thread.start()
    for thread in [first, *others]:
        thread.join(30)
    if raised is ValueError:
        assert outcomes == ["ValueError"] * 6
    else:
        assert sorted(outcomes) == sorted([raised.__name__] + ["computed"] * 5)
        assert len(computed) == 2
    assert slow() == "computed"


def test_a_lease_is_taken_over_when_it_has_not_moved_for_its_time() -> None:
    clock, store = ManualClock(), MemoryStore()
    ours, theirs = (ClusterLease(store, "lease/a", 30, clock) for _ in range(2))
    assert ours.acquire()
    assert not theirs.acquire()
    clock.advance(seconds=25)
    ours.beat()
    assert not theirs.acquire()
    clock.advance(seconds=29)
    assert not theirs.acquire()
    clock.advance(seconds=2)
    assert theirs.acquire()
    ours.beat()  # finds out that it has lost it
    ours.release()
    assert store.head("lease/a") is not None
    theirs.release()
    assert store.head("lease/a") is None


def test_a_failed_function_gives_its_lease_back() -> None:
    store = MemoryStore()
    kv = memory_store(store)
    fail = [True]

    @kv.cached(version=1, single_flight="cluster")
    def sometimes() -> int:
        if fail[0]:
            raise OSError("not now")
        return 1

    with pytest.raises(OSError, match="not now"):
        sometimes()
    fail[0] = False
    assert sometimes() == 1
    assert [meta.name for meta in store.list("s3kv/lease/") if "probe" not in meta.name] == []


def test_cached_calls_within_cached_calls_never_wait_for_themselves() -> None:
    kv = memory_store()

    @kv.cached(version=1, single_flight="cluster")
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @kv.cached(version=1, single_flight="host")
    def outer(n: int) -> int:
        return fibonacci(n) + (outer.__wrapped__(0) if n else 0)

    assert outer(10) == 55


def test_a_server_without_conditions_degrades_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv = memory_store()
    without = s3kv.Capabilities(create_only=False, compare_and_swap=False, conditional_delete=False)
    monkeypatch.setattr(kv._backend, "capabilities", lambda: without)
    f = kv.cached(lambda: 1, version=1, name="f", single_flight="cluster")
    assert f() == f() == 1
    assert "cannot create or swap conditionally" in caplog.text
