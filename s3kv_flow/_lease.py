"""Single flight: one computation of a key serves everyone in this process who waits for it.

It knows neither keys nor stores nor values: those who waited are told what became of the
computation, and look for the value themselves, so that each gets an object of its own.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from s3kv_flow._model import Outcome
from s3kv_flow._process import reset_after_fork

#: What this thread or task is computing now; a re-entrant call must not wait for itself.
_computing: contextvars.ContextVar[frozenset[tuple[int, str]]] = contextvars.ContextVar(
    "s3kv_computing", default=frozenset()
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else computes; the future tells what became of it, or raises what they raised."""

    future: Future[Outcome]


@dataclass(frozen=True, slots=True)
class Turn:
    """It is ours to compute; ``future`` is None for a re-entrant call, for which nobody waits."""

    name: str
    future: Future[Outcome] | None


class Flight:
    """Who computes what in this process."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, Future[Outcome]] = {}

    def enter(self, name: str) -> Turn | Wait:
        """Ask for the turn to compute a name; never blocks."""
        if (id(self), name) in _computing.get():
            return Turn(name, None)
        with self._lock:
            future = self._flying.get(name)
            if future is not None:
                return Wait(future)
            mine: Future[Outcome] = Future()
            self._flying[name] = mine
            return Turn(name, mine)

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
        if turn.future is None:
            return
        with self._lock:
            if self._flying.get(turn.name) is turn.future:
                del self._flying[turn.name]
        if turn.future.done():
            return
        if isinstance(outcome, Outcome):
            turn.future.set_result(outcome)
        else:
            turn.future.set_exception(outcome)
