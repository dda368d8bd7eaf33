"""`S3KVLockManager`: Prefect's SERIALIZABLE isolation across machines, with S3 alone."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from prefect.locking.protocol import LockManager
from prefect.transactions import get_transaction

import s3kv_flow as s3kv
from prefect_s3kv.events import emit
from prefect_s3kv.storage import S3KVStorage
from s3kv_flow.adapters import WorkLease

logger = logging.getLogger("prefect_s3kv")

#: How often whoever waits looks again: seldom, once it has waited long.
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0
#: Prefect itself gives no time-out; a lock that nobody gives back must not hold a flow for ever.
ACQUIRE_SECONDS: Final = 600.0


class LockTimeoutError(RuntimeError):
    """The lock was not to be had in time, and ``on_timeout`` is ``"raise"``."""


@dataclass
class _Held:
    lease: WorkLease
    family: str
    holders: set[str] = field(default_factory=set)
    timer: threading.Timer | None = None


class S3KVLockManager(LockManager):
    """Locks for Prefect's transactions, each a lease on S3 that ends with its holder.

    A task within a task of the same transaction shares its lock: waiting for it, it would wait
    for itself.

    Parameters
    ----------
    storage : S3KVStorage, optional
        Where the leases lie; the default store if it is not given.
    acquire_timeout_seconds : float
        How long to wait where Prefect does not say, which it never does.
    on_timeout : {"run_uncached", "raise"}
        Then run the task without storing its result, or fail it.

    Examples
    --------
    >>> manager = S3KVLockManager()
    >>> manager.acquire_lock("key", holder="me")
    True
    >>> manager.release_lock("key", holder="me")
    """

    def __init__(
        self,
        storage: S3KVStorage | None = None,
        *,
        acquire_timeout_seconds: float = ACQUIRE_SECONDS,
        on_timeout: Literal["run_uncached", "raise"] = "run_uncached",
    ) -> None:
        if on_timeout not in ("run_uncached", "raise"):
            raise ValueError(f"on_timeout={on_timeout!r}: known are run_uncached, raise")
        self.storage = storage or S3KVStorage()
        self.acquire_timeout_seconds = acquire_timeout_seconds
        self.on_timeout = on_timeout
        self._reset()

    @classmethod
    def from_env(cls, **options: Any) -> S3KVLockManager:
        """Give the one whose leases lie in the store that the environment names."""
        return cls(S3KVStorage(), **options)

    def _reset(self) -> None:
        self._locks: dict[str, _Held] = {}
        self._refused: set[tuple[str, str]] = set()
        self._guard = threading.Lock()

    # Policies are deep-copied and travel to workers: a lock manager is one, and its locks stay.

    def __deepcopy__(self, memo: Any) -> S3KVLockManager:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {
            "storage": self.storage,
            "acquire_timeout_seconds": self.acquire_timeout_seconds,
            "on_timeout": self.on_timeout,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3KVLockManager) and other.__getstate__() == self.__getstate__()

    def __hash__(self) -> int:
        return hash((self.storage.bucket, self.storage.root, self.acquire_timeout_seconds))

    # Acquiring

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Get the lock; True if it is the holder's.

        Parameters
        ----------
        key, holder : str
            What is locked, and for whom.
        acquire_timeout : float, optional
            Seconds to wait.
        hold_timeout : float, optional
            Seconds after which it is given back by itself.

        Raises
        ------
        LockTimeoutError
            It was not to be had in time, no ``acquire_timeout`` was given, and ``on_timeout`` is
            ``"raise"``.
        """
        lease = WorkLease(key, self.storage.store())
        for delay in self._delays(acquire_timeout):
            if self._try(key, holder, lease, hold_timeout):
                return True
            if delay is None:
                break
            time.sleep(delay)
        return self._gave_up(key, holder, lease, asked=acquire_timeout is not None)

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Do as :meth:`acquire_lock`, without keeping the event loop."""
        lease = WorkLease(key, self.storage.store())
        try:
            for delay in self._delays(acquire_timeout):
                if await asyncio.to_thread(self._try, key, holder, lease, hold_timeout):
                    return True
                if delay is None:
                    break
                await asyncio.sleep(delay)
        except asyncio.CancelledError:
            self._refused.add((key, holder))
            lease.release()
            raise
        return self._gave_up(key, holder, lease, asked=acquire_timeout is not None)

    def _delays(self, acquire_timeout: float | None) -> Iterator[float | None]:
        """Give how long to wait after each attempt; None after the last one."""
        limit = self.acquire_timeout_seconds if acquire_timeout is None else acquire_timeout
        ends, delay = time.monotonic() + limit, FIRST_DELAY_SECONDS
        while (left := ends - time.monotonic()) > 0:
            yield min(left, delay * (0.5 + random.random()))  # noqa: S311 - spreads, guards nothing
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)
        yield None

    def _try(self, key: str, holder: str, lease: WorkLease, hold_timeout: float | None) -> bool:
        family = _family() or holder  # whoever is in no transaction yet will be the outermost
        with self._guard:
            held = self._locks.get(key)
            if held is not None:
                ours = holder in held.holders or family == held.family
                if ours:
                    held.holders.add(holder)
                    self._hold_for(key, held, hold_timeout)
                return ours
        try:
            if not lease.acquire():
                return False
        except s3kv.S3KVError as error:
            # A task is not to fail because its lock cannot be had; it may be computed twice.
            logger.warning("%s is not locked: %s", key, error)
            emit("error", key, key=key, error=type(error).__name__, text=str(error)[:500])
            self._refused.add((key, holder))
            return True
        with self._guard:
            held = self._locks[key] = _Held(lease, family, {holder})
            self._hold_for(key, held, hold_timeout)
        return True

    def _hold_for(self, key: str, held: _Held, seconds: float | None) -> None:
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
        if seconds is not None:
            held.timer = threading.Timer(seconds, self._let_go, (key, held))
            held.timer.daemon = True
            held.timer.start()

    def _let_go(self, key: str, held: _Held) -> None:
        with self._guard:
            if self._locks.get(key) is held:
                del self._locks[key]
        held.lease.release()

    def _gave_up(self, key: str, holder: str, lease: WorkLease, *, asked: bool) -> bool:
        lease.release()
        self._refused.add((key, holder))
        if asked or self.on_timeout == "run_uncached":
            return False
        raise LockTimeoutError(
            f"the lock of {key} was not to be had within {self.acquire_timeout_seconds} s; "
            "raise acquire_timeout_seconds, or give on_timeout='run_uncached'"
        )

    # Giving back, and asking

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back. One that nobody holds, or that was never got, is none to give back.

        Raises
        ------
        ValueError
            Another holder has it.
        """
        with self._guard:
            held = self._locks.get(key)
            if (key, holder) in self._refused:
                self._refused.discard((key, holder))
                if held is None or holder not in held.holders:
                    return
            if held is None:
                return
            if holder not in held.holders:
                raise ValueError(f"No lock held by {holder} for transaction with key {key}")
            held.holders.discard(holder)
            if held.holders:
                return
            del self._locks[key]
            if held.timer is not None:
                held.timer.cancel()
        held.lease.release()

    def is_locked(self, key: str) -> bool:
        """Whether somebody has the lock, here or on another machine."""
        if key in self._locks:
            return True
        try:
            return WorkLease(key, self.storage.store()).is_held()
        except s3kv.S3KVError as error:
            logger.warning("whether %s is locked is not known: %s", key, error)
            return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether the holder has the lock."""
        held = self._locks.get(key)
        return held is not None and holder in held.holders

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody has the lock; False if that takes too long."""
        for delay in self._delays(timeout):
            if not self.is_locked(key):
                return True
            if delay is not None:
                time.sleep(delay)
        return False

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Do as :meth:`wait_for_lock`, without keeping the event loop."""
        for delay in self._delays(timeout):
            if not await asyncio.to_thread(self.is_locked, key):
                return True
            if delay is not None:
                await asyncio.sleep(delay)
        return False


def _family() -> str | None:
    """Give what all transactions within one another have in common; None outside of any."""
    transaction = get_transaction()
    if transaction is None:
        return None
    while (parent := transaction.get_parent()) is not None and parent is not transaction:
        transaction = parent
    return str(transaction._holder)
