"""Locks: one holder at a time, in processes and across them, and none that outlives its holder."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import time

import pytest

import s3kv_flow as s3kv
from prefect_s3kv import LockTimeoutError, S3KVLockManager, S3KVStorage

HOLDER = """
import sys, time
from prefect_s3kv import S3KVLockManager
manager = S3KVLockManager.from_env()
assert manager.acquire_lock("shared", "dead", acquire_timeout=20)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def locks(kv: s3kv.S3KV) -> S3KVLockManager:
    return S3KVLockManager(acquire_timeout_seconds=5)


def test_one_holder_at_a_time(locks: S3KVLockManager) -> None:
    assert locks.acquire_lock("k", "a")
    assert locks.acquire_lock("k", "a")
    assert not locks.acquire_lock("k", "b", acquire_timeout=0.1)
    assert locks.is_locked("k")
    assert locks.is_lock_holder("k", "a")
    assert not locks.is_lock_holder("k", "b")
    locks.release_lock("k", "b")  # it never got it, and a retry says so again
    with pytest.raises(ValueError, match="No lock held by c"):
        locks.release_lock("k", "c")
    locks.release_lock("k", "a")
    locks.release_lock("k", "a")
    assert not locks.is_locked("k")
    assert locks.acquire_lock("k", "b")
    locks.release_lock("k", "b")


def test_another_manager_of_the_store_is_another_holder(locks: S3KVLockManager) -> None:
    other = pickle.loads(pickle.dumps(locks))
    assert other == locks
    assert other._locks == {}
    assert copy.deepcopy(locks) is locks
    assert locks.acquire_lock("k", "a")
    assert other.is_locked("k")
    assert not other.acquire_lock("k", "b", acquire_timeout=0.1)
    assert not other.wait_for_lock("k", timeout=0.1)
    locks.release_lock("k", "a")
    assert other.wait_for_lock("k", timeout=5)
    assert other.acquire_lock("k", "b", acquire_timeout=5)
    other.release_lock("k", "b")


def test_a_lock_is_given_back_after_its_time(locks: S3KVLockManager) -> None:
    assert locks.acquire_lock("k", "a", hold_timeout=0.2)
    assert locks.acquire_lock("k", "b")
    locks.release_lock("k", "b")


@pytest.mark.parametrize("on_timeout", ["run_uncached", "raise"])
def test_nobody_waits_for_ever(kv: s3kv.S3KV, on_timeout: str) -> None:
    locks = S3KVLockManager(acquire_timeout_seconds=0.2, on_timeout=on_timeout)  # type: ignore[arg-type]
    other = S3KVLockManager()
    assert other.acquire_lock("k", "a")
    if on_timeout == "raise":
        with pytest.raises(LockTimeoutError, match="acquire_timeout_seconds"):
            locks.acquire_lock("k", "b")
    else:
        assert not locks.acquire_lock("k", "b")
    locks.release_lock("k", "b")
    other.release_lock("k", "a")
    with pytest.raises(ValueError, match="run_uncached"):
        S3KVLockManager(on_timeout="wait")  # type: ignore[arg-type]


def test_coroutines_wait_as_coroutines(locks: S3KVLockManager) -> None:
    async def go() -> list[str]:
        order = []
        assert await locks.aacquire_lock("k", "a")

        async def second() -> None:
            assert await locks.aacquire_lock("k", "b")
            order.append("b")
            locks.release_lock("k", "b")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.1)
        order.append("a")
        locks.release_lock("k", "a")
        await waiting
        assert await locks.await_for_lock("k", timeout=1)
        return order

    assert asyncio.run(go()) == ["a", "b"]


def test_a_coroutine_that_is_cancelled_leaves_no_lock(locks: S3KVLockManager) -> None:
    async def go() -> None:
        assert await locks.aacquire_lock("k", "a")
        waiting = asyncio.create_task(locks.aacquire_lock("k", "b"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        locks.release_lock("k", "b")
        locks.release_lock("k", "a")
        assert not locks.is_locked("k")

    asyncio.run(go())


def test_s3_down_locks_nothing_and_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    failing = s3kv.testing.FailingStore(
        s3kv.testing.stores.MemoryStore(), s3kv.StoreUnavailableError("down")
    )
    s3kv.configure(s3kv.testing.memory_store(failing, local_cache="off"))
    locks = S3KVLockManager()
    assert locks.acquire_lock("k", "a")
    assert not locks.is_locked("k")
    locks.release_lock("k", "a")
    assert "is not locked" in caplog.text


def test_the_lock_of_a_killed_process_is_taken_over(seaweed: dict[str, str], monkeypatch) -> None:
    import os

    for name, value in {**seaweed, "S3KV_LEASE_SECONDS": "2", "S3KV_LOCAL_CACHE": "off"}.items():
        monkeypatch.setenv(name, value)
    from s3kv_flow import _runtime

    _runtime._default.store = None
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        locks = S3KVLockManager(S3KVStorage(root="s3kv"))
        assert locks.is_locked("shared")
        assert not locks.acquire_lock("shared", "me", acquire_timeout=3)
        holder.kill()
        began = time.monotonic()
        assert locks.acquire_lock("shared", "me", acquire_timeout=30)
        assert time.monotonic() - began < 15
        locks.release_lock("shared", "me")
    finally:
        holder.kill()
        holder.communicate()
        s3kv.default_store().close()
        _runtime._default.store = None
