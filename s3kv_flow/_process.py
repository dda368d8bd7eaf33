"""What must not survive a fork.

A forked child inherits locks that a vanished thread may hold, futures that nobody will
resolve, and connections it would share with its parent. Whoever owns such a thing gives a
bound method here; it runs in the child before anything else does.

What cannot be made anew in the child (SQLite keeps its locks in memory that the child inherits)
is done inside of `not_amid_fork`: a fork waits until nobody is there.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

#: A fork does not wait longer than this: a slow disk must not stop a program.
FORK_WAIT_SECONDS: Final = 10

# A dict for its order and its quick removal: stores and caches come and go.
_resets: dict[weakref.WeakMethod[Callable[[], Any]], None] = {}


def reset_after_fork(reset: Callable[[], Any]) -> None:
    """Call the bound method ``reset`` in every forked child, as long as its object lives."""
    _resets[weakref.WeakMethod(reset, _forget)] = None


def _forget(reference: weakref.WeakMethod[Callable[[], Any]]) -> None:
    _resets.pop(reference, None)


class _Gate:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._held = False

    def before(self) -> None:
        self._held = self.lock.acquire(timeout=FORK_WAIT_SECONDS)

    def after_in_parent(self) -> None:
        if self._held:
            self.lock.release()

    def after_in_child(self) -> None:
        self.lock = threading.Lock()


_gate = _Gate()


@contextmanager
def not_amid_fork() -> Iterator[None]:
    """Keep this process from forking meanwhile; one thread at a time is let in."""
    with _gate.lock:
        yield


def _in_child() -> None:
    _gate.after_in_child()
    for reference in tuple(_resets):
        reset = reference()
        if reset is not None:
            reset()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(
        before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_in_child
    )
