"""Single flight: one computation of a key serves everyone who waits for it.

`Flight` is for the threads and tasks of this process, `HostLease` for the processes of this
machine, `ClusterLease` for all workers on a bucket. None of them knows values: those who waited
look for the value themselves, so that each gets an object of its own.

A lease is kept alive by its holder's heartbeat. One that gives no sign for a lease's time is taken
over; should its holder wake, two have computed, and the publish, which is create-only, decides.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from s3kv_flow._clock import Clock
from s3kv_flow._model import ABSENT, ETag, Outcome
from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import S3KVError
from s3kv_flow.stores.cas import cas_put
from s3kv_flow.stores.protocols import Bucket, PreconditionFailedError

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger("s3kv_flow")

#: Among the processes of one machine, or all workers on a bucket.
Reach = Literal["host", "cluster"]

#: How many holders of one lease may be stopped at once before others just wait for them.
SUCCESSORS: Final = 8
#: What a server's Last-Modified leaves out.
_SECOND: Final = 1.0

#: What this thread or task is computing now; a re-entrant call must not wait for itself.
_computing: contextvars.ContextVar[frozenset[tuple[int, str]]] = contextvars.ContextVar(
    "s3kv_computing", default=frozenset()
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else computes; the future tells what became of it, or raises what they raised."""

    future: Future[Outcome]


@dataclass(slots=True, eq=False)
class Turn:
    """It is ours to compute."""

    name: str
    shared: bool = True
    """Others may wait for it; not for a re-entrant call."""
    future: Future[Outcome] | None = None
    """Made for the first who waits: as a rule nobody does."""


class Flight:
    """Who computes what in this process."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, Turn] = {}

    def enter(self, name: str) -> Turn | Wait:
        """Ask for the turn to compute a name; never blocks."""
        if (id(self), name) in _computing.get():
            return Turn(name, shared=False)
        with self._lock:
            theirs = self._flying.get(name)
            if theirs is not None:
                if theirs.future is None:
                    theirs.future = Future()
                return Wait(theirs.future)
            mine = self._flying[name] = Turn(name)
            return mine

    @contextmanager
    def computing(self, turn: Turn) -> Iterator[None]:
        """Mark the calls inside as made by whoever has the turn."""
        token = _computing.set(_computing.get() | {(id(self), turn.name)})
        try:
            yield
        finally:
            _computing.reset(token)

    def leave(self, turn: Turn, outcome: Outcome | Exception) -> None:
        """Tell those who wait what became of the computation. A second call changes nothing."""
        with self._lock:
            if self._flying.get(turn.name) is not turn:
                return
            del self._flying[turn.name]
            future = turn.future  # from here on nobody finds the turn to wait for it
        if future is None:
            return
        if isinstance(outcome, Outcome):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


class Lease(Protocol):
    """The right to compute one thing, among processes."""

    def acquire(self) -> bool:
        """Try to get it, without waiting."""

    def beat(self) -> None:
        """Give a sign of life; never raises."""

    def release(self) -> None:
        """Give it back; never raises."""

    @property
    def seconds(self) -> float:
        """How long it lasts without a sign of life."""

    @property
    def reach(self) -> Reach:
        """Among whose processes it is."""


class HostLease:
    """A lease among the processes of this machine: a file lock, which the system ends with its holder.

    Parameters
    ----------
    folder : Path
        A private folder of this user.
    name : str
        What is to be computed.
    seconds : float
        A holder that was stopped, and gives no sign for so long, no longer counts.
    """

    reach: Final = "host"

    def __init__(self, folder: Path, name: str, seconds: float) -> None:
        self.seconds = seconds
        self._path = folder / name
        self._lock: FileLock | None = None

    def acquire(self) -> bool:
        from filelock import FileLock, Timeout

        for successor in range(SUCCESSORS):  # each takes over from one that was stopped
            path = self._path.with_name(f"{self._path.name}.{successor}")
            lock = FileLock(f"{path}.lock", timeout=0, mode=0o600, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                if self._is_alive(path):
                    return False
                continue
            self._path, self._lock = path, lock
            self.beat()
            return True
        return False

    def _is_alive(self, path: Path) -> bool:
        try:
            return time.time() - _sign(path).stat().st_mtime <= self.seconds
        except OSError:
            return True  # its holder has not come so far, or has just gone

    def beat(self) -> None:
        with suppress(OSError):
            _sign(self._path).touch(mode=0o600)

    def release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is None:
            return
        with suppress(OSError):
            # Whoever has opened the file by now gets the lock of one that is gone: they look for
            # the value first, and find it.
            _sign(self._path).unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)
        with suppress(Exception):
            lock.release()


def _sign(path: Path) -> Path:
    """Give the file whose time is the last sign of life."""
    return path.with_name(f"{path.name}.sign")


class ClusterLease:
    """A lease among all workers: one small object, by compare-and-swap alone.

    No two clocks are compared: it has ended if the server's own times say so, or if it has not
    changed for its length on the waiter's monotonic clock.

    Parameters
    ----------
    store : Bucket
        Where the object lies.
    name : str
        Its name.
    seconds : float
        How long it lasts without a sign of life.
    clock : Clock
        Measures how long it has not changed.
    """

    reach: Final = "cluster"

    def __init__(self, store: Bucket, name: str, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._store = store
        self._name = name
        self._clock = clock
        self._etag: ETag | None = None
        self._seen: tuple[ETag, float] | None = None
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        self._etag = self._write(ABSENT)
        if self._etag is not None:
            return True
        found = self._store.head(self._name)
        if found is None:
            return False  # just given back; the next attempt gets it
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != found.etag:
            first = self._seen is None
            self._seen = (found.etag, now)
            age = (self._store.server_time() - found.modified).total_seconds() if first else 0.0
            if age <= self.seconds + _SECOND:
                return False
        elif now - self._seen[1] <= self.seconds:
            return False
        self._etag = self._write(found.etag)
        return self._etag is not None

    def is_held(self) -> bool:
        """Whether somebody holds it, as far as the server's own times tell."""
        found = self._store.head(self._name)
        if found is None:
            return False
        age = (self._store.server_time() - found.modified).total_seconds()
        return age <= self.seconds + _SECOND

    def _write(self, expect: Any) -> ETag | None:
        # A nonce in each: a body that was there before would have an ETag that was there before.
        body = {"nonce": os.urandom(16).hex(), "pid": os.getpid()}
        return cas_put(self._store, self._name, [json.dumps(body).encode()], expect=expect)

    def beat(self) -> None:
        with self._lock:
            if self._etag is None:
                return
            try:
                self._etag = self._write(self._etag)
            except S3KVError as error:
                logger.debug("the heartbeat of %s failed: %s", self._name, error)

    def release(self) -> None:
        with self._lock:
            etag, self._etag = self._etag, None
            if etag is None:
                return
            try:
                self._store.delete_if(self._name, etag)
            except PreconditionFailedError:
                pass  # taken over
            except S3KVError as error:
                logger.debug("the lease %s is left to end by itself: %s", self._name, error)


class Heart:
    """Beats for all leases this process holds, in one thread."""

    def __init__(self) -> None:
        self._inherited: list[dict[int, Lease]] = []
        self._held: dict[int, Lease] = {}
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A forked child holds none; and it must not let go of its parent's locks by forgetting them.
        self._inherited.append(self._held)
        self._held = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def hold(self, lease: Lease) -> None:
        """Beat for a lease until it is released."""
        with self._changed:
            self._held[id(lease)] = lease
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="s3kv-lease", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # without a beat it ends by itself: two may compute
                    logger.debug("no thread for the heartbeat of leases: %s", error)
            self._changed.notify()

    def release(self, lease: Lease) -> None:
        """Stop beating, and give it back."""
        with self._changed:
            self._held.pop(id(lease), None)
        lease.release()

    def _beat(self) -> None:
        due: dict[int, float] = {}
        while True:
            with self._changed:
                held = dict(self._held)
                if not held:
                    self._thread = None
                    return
            now = time.monotonic()
            for which, lease in held.items():
                if due.setdefault(which, now + lease.seconds / 3) <= now:
                    lease.beat()
                    due[which] = time.monotonic() + lease.seconds / 3
            due = {which: when for which, when in due.items() if which in held}
            pause = max(0.01, min(due.values()) - time.monotonic())
            with self._changed:
                self._changed.wait(min(pause, min(lease.seconds for lease in held.values()) / 3))


#: One a process.
heart: Final = Heart()


class Leases:
    """Several leases, the nearest first, as one.

    Parameters
    ----------
    wanted : list of callable
        Each gives a lease; asked for when the ones before it are held.
    """

    def __init__(self, wanted: list[Callable[[], Lease | None]]) -> None:
        self._wanted = wanted
        self._held: list[Lease] = []
        self._next: Lease | None = None

    def acquire(self, failed: Callable[[Exception], None]) -> bool:
        """Get one after the other, without waiting; those that were got are kept.

        One that cannot be had for another reason than a holder is told to ``failed``, and done
        without: in doubt, two compute.
        """
        while self._wanted:
            try:
                if self._next is None:
                    self._next = self._wanted[0]()
                if self._next is not None and not self._next.acquire():
                    return False
            except (S3KVError, OSError) as error:
                self._next = None
                failed(error)
            if self._next is not None:
                heart.hold(self._next)
                self._held.append(self._next)
            self._next = None
            del self._wanted[0]
        return True

    @property
    def reach(self) -> Reach | None:
        """How far those that are held reach; None where there are none."""
        return self._held[-1].reach if self._held else None

    def release(self) -> None:
        """Give all back, the last one first."""
        while self._held:
            heart.release(self._held.pop())
        self._wanted = []


NO_LEASES: Final = Leases([])
