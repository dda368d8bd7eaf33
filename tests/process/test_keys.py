"""Keys under several processes, and under processes that are killed or put to sleep midway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.connection import Connection

pytestmark = pytest.mark.timeout(180)

MERGE = """
import sys
import s3kv_flow as s3kv

number = sys.argv[1]
with s3kv.S3KV() as kv:
    for step in range(25):
        source = f"source/{number}/{step}"
        kv[source] = {f"{number}-{step}": step}
        kv.merge_keys([source], "all")
"""

#: Does one operation, and is killed (or stopped) right before a request.
CRASH = """
import os, signal, sys
import s3kv_flow as s3kv
from s3kv_flow.testing.stores import WrappedStore

operation, before, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Crashing(WrappedStore):
    sent = 0

    def request(self, verb, name, send):
        self.sent += 1
        if self.sent == before:
            os.kill(os.getpid(), getattr(signal, how))
        return super().request(verb, name, send)


kv = s3kv.S3KV()
backend = kv._backend
backend.capabilities()
backend._objects = backend.chain._remote = Crashing(backend.objects)
cached = kv.cached(version=1, name="crash", tags={"t": "v"})(lambda x: [x])
try:
    {
        "add": lambda: kv.add("key", {"new": 1}, tags={"t": "v"}),
        "add plain": lambda: kv.add("key", {"new": 1}),
        "copy": lambda: kv.copy_key("source", "key"),
        "merge": lambda: kv.merge_keys(["source"], "key"),
        "tag": lambda: kv.tag_key("key", {"t": "v"}),
        "delete": lambda: kv.delete("key"),
        "delete by tag": lambda: kv.delete_by_tag("old", "tag"),
        "hold": lambda: kv.apply_legal_hold("key"),
        "retain": lambda: kv.place_retention_lock("key", 0.01),
        "cached": lambda: cached(1),
    }[operation]()
except s3kv.KeyLockedError:
    print("locked")
else:
    print("done")
"""


@pytest.fixture
def root(bucket: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("S3KV_LOCAL_CACHE", "off")
    return os.environ["S3KV_ROOT"]


def script(tmp_path: Path, text: str) -> str:
    file = tmp_path / "script.py"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("bucket", ["seaweed"], indirect=True)
def test_eight_processes_merge_and_lose_nothing(root: str, tmp_path: Path) -> None:
    file = script(tmp_path, MERGE)
    running = [subprocess.Popen([sys.executable, file, str(number)]) for number in range(8)]
    assert [one.wait(timeout=150) for one in running] == [0] * 8
    with s3kv.S3KV() as kv:
        assert kv["all"] == {f"{number}-{step}": step for number in range(8) for step in range(25)}


OLD, NEW = {"old": 1}, {"new": 1}
#: Each operation, how many requests it sends at the least, and the values it may leave.
OPERATIONS: dict[str, tuple[int, list[Any]]] = {
    "add": (2, [OLD, NEW]),
    "add plain": (1, [OLD, NEW]),
    "copy": (2, [OLD, {"source": 1}]),
    "merge": (3, [OLD, {**OLD, "source": 1}]),
    "tag": (3, [OLD]),
    "delete": (1, [OLD, None]),
    "delete by tag": (3, [OLD, None]),
    "cached": (3, [OLD]),
    "hold": (4, [OLD]),
    "retain": (4, [OLD]),
}


@pytest.mark.parametrize(
    ("bucket", "operation"),
    [("seaweed-lock", operation) for operation in OPERATIONS]
    + [("seaweed", operation) for operation in ("add", "tag", "delete by tag")],
    indirect=["bucket"],
)
def test_killed_between_any_two_requests(
    operation: str, bucket: Connection, root: str, tmp_path: Path
) -> None:
    """Whole values, every live tag indexed, nothing locked that is not shown; a second try works."""
    requests, left = OPERATIONS[operation]
    file = script(tmp_path, CRASH)

    def crash(before: int) -> str:
        own = f"{root}-{operation.replace(' ', '-')}-{before}"
        environment = {**os.environ, "S3KV_ROOT": own}
        with s3kv.S3KV(root=own) as kv:
            kv.add("key", OLD, tags={"old": "tag"})
            kv["source"] = {"source": 1}
        done = subprocess.run(
            [sys.executable, file, operation, str(before), "SIGKILL"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        with s3kv.S3KV(root=own) as kv:
            found = kv.get("key")
            assert found in left, (operation, before, found)
            for key in [*kv.iter_keys(), *kv.iter_keys("cache/")]:
                for tag, value in kv.get_tags(key).items():
                    assert key in kv.find_keys_by_tag_value(tag, value), (operation, before)
            if "lock" in bucket.bucket:
                assert kv.verify_locks() == {}
        if done.returncode == 0:
            return done.stdout.strip()
        assert done.returncode == -signal.SIGKILL, done.stderr
        again = subprocess.run(
            [sys.executable, file, operation, "0", "SIGKILL"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return f"killed, then {again.stdout.strip()}"

    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(crash, range(1, requests + 2)))
    assert told[:requests] == ["killed, then done"] * requests


@pytest.fixture
def stopped(root: str, tmp_path: Path) -> Iterator[Any]:
    """Start an operation that goes to sleep before one of its requests."""
    running = []

    def start(operation: str, before: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, script(tmp_path, CRASH), operation, str(before), "SIGSTOP"],
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        deadline = time.monotonic() + 30
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert process.poll() is None, "it ended before it went to sleep"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("bucket", ["seaweed-lock"], indirect=True)
@pytest.mark.parametrize(
    ("operation", "last_request"), [("add plain", 2), ("delete", 3), ("copy", 3), ("merge", 6)]
)
def test_a_writer_that_slept_while_a_lock_was_placed_does_not_write(
    operation: str, last_request: int, stopped: Any, bucket: Connection
) -> None:
    with s3kv.S3KV() as kv:
        kv["key"] = OLD
        kv["source"] = {"source": 1}
        process = stopped(operation, last_request)
        kv.place_retention_lock("key", 0.01)
        os.kill(process.pid, signal.SIGCONT)
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out.strip()) == (0, "locked")
        assert kv["key"] == OLD
        assert kv.verify_locks() == {}
        assert kv.get_lock("key").mode == "GOVERNANCE"
