"""All orders of the requests of several operations, by running the real code over and over.

What an operation does next depends on nothing but the answers it got so far, so a state of the
whole is the store, the clock, and each operation's answers. From a state, any operation may take
a step: it is run anew, gets its old answers again, sends one request more, and is stopped. One
that takes no step any more has crashed, so an invariant that holds in every state holds whatever
crashes, and whenever.

A step begins with reading the clock and ends with the request, so no time passes between the two:
a server refuses a request that was signed long ago.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from s3kv_flow._model import StoredObject
from s3kv_flow.errors import S3KVError
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.protocols import Bucket, PreconditionFailedError
from s3kv_flow.testing import ManualClock
from s3kv_flow.testing.stores import WrappedStore

R = TypeVar("R")

Operation = Callable[[Bucket, ManualClock], Any]


class Stopped(BaseException):
    """The operation has taken its step."""


@dataclass(frozen=True)
class Answer:
    """What the world said: a value or an exception."""

    value: Any = None
    error: Exception | None = None

    def give(self) -> Any:
        if self.error is not None:
            raise self.error
        return iter(self.value) if isinstance(self.value, tuple) else self.value


class _Run:
    """One operation, from its beginning to one request past its old answers."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.answers = list(answers)
        self._replayed = 0
        self._stepped = False

    def ask(self, send: Callable[[], Any], *, ends_step: bool) -> Any:
        if self._replayed < len(self.answers):
            self._replayed += 1
            return self.answers[self._replayed - 1].give()
        if self._stepped:
            raise Stopped
        try:
            value = send()
            answer = Answer(tuple(value) if isinstance(value, Iterator) else value)
        except (S3KVError, PreconditionFailedError) as error:
            answer = Answer(error=error)
        self.answers.append(answer)
        self._replayed += 1
        self._stepped = ends_step
        return answer.give()


class _Store(WrappedStore):
    def __init__(self, inner: MemoryStore, run: _Run) -> None:
        super().__init__(inner)
        self._run = run

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        result: R = self._run.ask(send, ends_step=True)
        return result


class _Clock(ManualClock):
    def __init__(self, inner: ManualClock, run: _Run) -> None:
        super().__init__()
        self._inner, self._run = inner, run

    def now(self) -> float:
        return float(self._run.ask(self._inner.now, ends_step=False))

    monotonic = now


@dataclass(frozen=True)
class State:
    """A state of the whole."""

    objects: Mapping[str, tuple[Any, ...]]
    made: int
    now: float
    answers: tuple[tuple[Answer, ...], ...]
    results: tuple[Any, ...]
    ticks: int

    def key(self) -> Any:
        return (
            tuple((name, repr(_plain(found))) for name, found in sorted(self.objects.items())),
            self.now,
            repr(_plain(self.answers)),
            self.ticks,
        )


def _plain(value: Any) -> Any:
    """Give bytes in place of views of them, of which each is another."""
    if isinstance(value, StoredObject):
        return value.meta, bytes(value.body)
    if isinstance(value, Answer):
        return _plain(value.value), repr(value.error)
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    stored = getattr(value, "stored", None)
    if stored is not None:
        return _plain(stored), value.tags, value.lock, value.version
    return value


RUNNING = "running"


def explore(
    monkeypatch: pytest.MonkeyPatch,
    store: MemoryStore,
    clock: ManualClock,
    operations: list[Operation],
    holds: Callable[[MemoryStore, tuple[Any, ...]], None],
    *,
    ticks: int = 0,
    tick_seconds: float = 0.0,
) -> int:
    """Go through all states, call ``holds`` in each, and give how many there were.

    ``holds`` gets the results so far: what an operation returned or raised, or RUNNING. The clock
    may jump ``ticks`` times by ``tick_seconds``, at any moment.
    """
    chance = random.Random()
    monkeypatch.setattr("os.urandom", chance.randbytes)
    monkeypatch.setattr("secrets.choice", chance.choice)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for module in ("_retention", "_tagindex", "_writes"):  # one step at a time needs no threads
        monkeypatch.setattr(
            f"s3kv_flow.{module}.in_parallel", lambda function, items, **_: map(function, items)
        )

    first = State(
        _frozen(store),
        store._made,
        clock.now(),
        tuple(() for _ in operations),
        tuple(RUNNING for _ in operations),
        ticks,
    )
    seen: set[Any] = set()
    waiting = [first]
    while waiting:
        state = waiting.pop()
        key = state.key()
        if key in seen:
            continue
        seen.add(key)
        _restore(store, clock, state)
        holds(store, state.results)
        for index, operation in enumerate(operations):
            if state.results[index] is RUNNING:
                _restore(store, clock, state)
                chance.seed(index)
                waiting.append(_step(store, clock, state, index, operation))
        if state.ticks:
            waiting.append(
                State(
                    state.objects,
                    state.made,
                    state.now + tick_seconds,
                    state.answers,
                    state.results,
                    state.ticks - 1,
                )
            )
    return len(seen)


def _step(
    store: MemoryStore, clock: ManualClock, state: State, index: int, operation: Operation
) -> State:
    run = _Run(state.answers[index])
    result: Any = RUNNING
    try:
        result = operation(_Store(store, run), _Clock(clock, run))
    except Stopped:
        pass
    except S3KVError as error:
        result = error
    answers, results = list(state.answers), list(state.results)
    answers[index], results[index] = tuple(run.answers), result
    return State(
        _frozen(store), store._made, state.now, tuple(answers), tuple(results), state.ticks
    )


def _frozen(store: MemoryStore) -> Mapping[str, tuple[Any, ...]]:
    return {name: tuple(versions) for name, versions in store._objects.items()}


def _restore(store: MemoryStore, clock: ManualClock, state: State) -> None:
    store._objects = {name: list(versions) for name, versions in state.objects.items()}
    store._made = state.made
    clock.advance(seconds=state.now - clock.now())
