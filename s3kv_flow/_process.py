"""What must not survive a fork.

A forked child inherits locks that a vanished thread may hold, futures that nobody will
resolve, and connections it would share with its parent. Whoever owns such a thing gives a
bound method here; it runs in the child before anything else does.

What cannot be made anew in the child (SQLite keeps its locks in memory that the child inherits)
is done inside of `not_amid_fork`: a fork waits until nobody is there.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

#: A fork does not wait longer than this: a slow disk must not stop a program.
FORK_WAIT_SECONDS: Final = 10

# A dict for its order and its quick removal: stores and caches come and go.
_resets: dict[int, tuple[weakref.ref[Any], Callable[[Any], Any]]] = {}
_numbers = itertools.count()


def reset_after_fork(reset: Callable[[], Any]) -> None:
    """Call the bound method ``reset`` in every forked child, as long as its object lives."""
    owner, function = reset.__self__, reset.__func__  # type: ignore[attr-defined]
    number, forget = next(_numbers), _resets.pop  # at exit the module's own names may be gone
    _resets[number] = weakref.ref(owner, lambda _: forget(number, None)), function


class _Gate:
    """A lock for each thread, all of which a fork takes: threads never wait for each other."""

    def __init__(self) -> None:
        self._open()
        self._held: list[threading.Lock] = []

    def _open(self) -> None:
        self._adding = threading.Lock()
        self._locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
        self._own = threading.local()

    def of_this_thread(self) -> threading.Lock:
        lock: threading.Lock | None = getattr(self._own, "lock", None)
        if lock is None:
            lock = threading.Lock()
            with self._adding:
                self._locks.add(lock)
            self._own.lock = lock
        return lock

    def before(self) -> None:
        deadline = time.monotonic() + FORK_WAIT_SECONDS
        held = []
        if self._adding.acquire(timeout=FORK_WAIT_SECONDS):
            held.append(self._adding)
            held += [
                lock
                for lock in list(self._locks)
                if lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
            ]
        self._held = held

    def after_in_parent(self) -> None:
        held, self._held = self._held, []
        for lock in held:
            lock.release()

    def after_in_child(self) -> None:
        self._held = []
        self._open()


_gate = _Gate()


def not_amid_fork() -> AbstractContextManager[Any]:
    """Keep this process from forking while the calling thread is inside of a ``with`` of it."""
    return _gate.of_this_thread()


def _in_child() -> None:
    _gate.after_in_child()
    for reference, reset in tuple(_resets.values()):
        owner = reference()
        if owner is not None:
            reset(owner)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(
        before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_in_child
    )
