"""Whose turn it is to compute: ours, or somebody's for whom we wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Union

from s3kv_flow._backend import Backend
from s3kv_flow._cache.calls import Call
from s3kv_flow._cache.reading import Reading
from s3kv_flow._lease import NO_LEASES, Leases, Turn, Wait
from s3kv_flow._model import ABSENT, Hit, Miss, MissReason, Outcome, Precondition
from s3kv_flow._policy import Policy
from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import AccessDeniedError, S3KVError, StoreUnavailableError
from s3kv_flow.keys.parts import dump as dump_parts

logger = logging.getLogger("s3kv_flow")

#: How often whoever waits for another process looks again: seldom, once it has waited long.
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Claim:
    """The right to compute a call, and what the publish may expect to find."""

    call: Call
    turn: Turn
    miss: Miss
    tags: Mapping[str, str] | Exception
    parts: str | None
    """What the key is made of, for `explain`; taken before the function may change its arguments."""
    leases: Leases


@dataclass(slots=True)
class Pending:
    """Another process computes the call: ask :meth:`FunctionCache.again` after a while."""

    call: Call
    turn: Turn
    miss: Miss
    leases: Leases
    delay_seconds: float
    waited_seconds: float = 0.0


Step = Union[Hit[Any], Wait, Pending, Claim]


class Turns(Reading):
    """Says what now: a hit, a claim, or a wait."""

    def __init__(
        self, function: Callable[..., Any], policy: Policy, backend: Callable[[], Backend]
    ) -> None:
        super().__init__(function, policy, backend)
        self._unlock()
        reset_after_fork(self._unlock)

    def _unlock(self) -> None:
        self._revalidating: set[str] = set()
        self._revalidating_lock = threading.Lock()

    def begin(self, call: Call) -> Step:
        """Say what now."""
        if self._backend().mode == "refresh":
            return self.claim(call)
        return self._begin(call, self._find)

    def revalidate(self, call: Call) -> Step:
        """Say what now, to whoever computes again what is served stale meanwhile."""

        def fresh(call: Call) -> Hit[Any] | Miss:
            found = self._find(call)
            if not isinstance(found, Hit) or not found.stale:
                return found
            return Miss(MissReason.EXPIRED, self._current_or_none(call))

        return self._begin(call, fresh)

    def revalidates(self, call: Call) -> bool:
        """Whether this caller is the one that shall compute again, in the background."""
        if self._backend().mode in ("read_only", "require_hit", "offline"):
            return False
        with self._revalidating_lock:
            if call.object_name in self._revalidating:
                return False
            self._revalidating.add(call.object_name)
            return True

    @contextmanager
    def revalidating(self, call: Call) -> Iterator[None]:
        """Compute again in the background: what fails is counted, and said once."""
        try:
            yield
        except Exception as error:
            self.counters.error("revalidate")
            what = self._shown(error)
            self._say("revalidate", f"the old value is served on; computing it again raised {what}")
        finally:
            self._revalidating.discard(call.object_name)

    def _begin(self, call: Call, find: Callable[[Call], Hit[Any] | Miss]) -> Step:
        backend = self._backend()
        turn = self._turn(backend, call)
        if isinstance(turn, Wait):
            return turn
        leases = NO_LEASES
        try:
            found = find(call)
            if isinstance(found, Hit):
                backend.flight.leave(turn, Outcome.LOOK_AGAIN)
                return found
            if backend.mode == "require_hit":
                raise self._missed(call, found)
            self.counters.miss(found.reason.value)
            leases = self._leases(backend, call, turn, found)
            if leases.acquire(self._failed):
                seen = self._seen_meanwhile(backend, call, leases)
                if seen is None:
                    return self._claim(call, turn, found, leases)
                leases.release()
                backend.flight.leave(turn, Outcome.LOOK_AGAIN)
                return seen
            return Pending(call, turn, found, leases, FIRST_DELAY_SECONDS)
        except BaseException:
            # Not the function's own error: whoever waits shall ask for themselves.
            leases.release()
            self._release(turn, Outcome.LOOK_AGAIN)
            raise

    def again(self, pending: Pending) -> Step:
        """Say what now, to whoever has waited for another process."""
        call, backend = pending.call, self._backend()
        try:
            pending.waited_seconds += pending.delay_seconds
            found = self._seen(backend, call)
            if found is None and pending.leases.acquire(self._failed):
                # Its holder may have published between our look and our turn.
                found = self._seen(backend, call)
                if found is None:
                    return self._claim(call, pending.turn, pending.miss, pending.leases)
            if found is not None:
                self.counters.waited(pending.waited_seconds)
                pending.leases.release()
                backend.flight.leave(pending.turn, Outcome.LOOK_AGAIN)
                return found
        except BaseException:
            # Not the function's own error: whoever waits shall ask for themselves.
            self._release(pending, Outcome.LOOK_AGAIN)
            raise
        pending.delay_seconds = min(2 * pending.delay_seconds, LONGEST_DELAY_SECONDS)
        return pending

    def _seen(self, backend: Backend, call: Call) -> Hit[Any] | None:
        """Look whether another process has published a fresh value."""
        found: Hit[Any] | Miss | None = self.look(call)
        if found is None and not backend.local_only:
            found = self._find(call)
        return found if isinstance(found, Hit) and not found.stale else None

    def _seen_meanwhile(self, backend: Backend, call: Call, leases: Leases) -> Hit[Any] | None:
        """Look once more: whoever had the leases may have published between our look and our turn."""
        if leases.reach is None:
            return None
        # Who shares a lease of this machine has put it into the local tiers, too.
        return self._seen(backend, call) if leases.reach == "cluster" else self.look(call, True)

    def _turn(self, backend: Backend, call: Call) -> Turn | Wait:
        if self.policy.single_flight is False:
            return Turn(call.object_name, shared=False)
        return backend.flight.enter(call.object_name)

    def _leases(self, backend: Backend, call: Call, turn: Turn, miss: Miss) -> Leases:
        """Give the leases that computing a call takes, as far as its flight goes."""
        level = self.policy.single_flight
        if not turn.shared or backend.mode == "read_only":  # re-entrant, or published nowhere
            return NO_LEASES
        if level == "auto":
            slow = miss.slow if self._is_slow is None else self._is_slow
            level = "cluster" if slow else "host"
        return backend.leases(call.object_name, level)

    def claim(self, call: Call) -> Step:
        """Claim a call whatever is stored for it, for a refresh."""
        backend = self._backend()
        turn = self._turn(backend, call)
        if isinstance(turn, Wait):
            return turn
        try:
            replaces = self._current_or_none(call) if backend.reachable() else None
            self.counters.miss(MissReason.REFRESH.value)
            return self._claim(call, turn, Miss(MissReason.REFRESH, replaces), NO_LEASES)
        except BaseException:
            self._release(turn, Outcome.LOOK_AGAIN)
            raise

    def _claim(self, call: Call, turn: Turn, miss: Miss, leases: Leases) -> Claim:
        return Claim(call, turn, miss, self.tags_or_error(call), self._parts_text(call), leases)

    def _parts_text(self, call: Call) -> str | None:
        try:
            return dump_parts(self.parts(call))
        except Exception:  # it only helps to explain
            logger.debug("no parts of the key of %s", call.key, exc_info=True)
            return None

    def _current_or_none(self, call: Call) -> Precondition | None:
        """Give what a publish may replace; None, which is nothing, where S3 does not say."""
        try:
            return self._current(call)
        except (StoreUnavailableError, AccessDeniedError) as error:
            self._failed(error)
            return None

    def _current(self, call: Call) -> Precondition:
        backend = self._backend()
        if backend.local_only:
            return ABSENT
        try:
            found = backend.objects.head(call.object_name)
        except StoreUnavailableError:
            backend.breaker.failed()
            raise
        backend.breaker.succeeded()
        return ABSENT if found is None else found.etag

    def computing(self, claim: Claim) -> Any:
        """Mark the calls inside as made by whoever has the claim."""
        return self._backend().flight.computing(claim.turn)

    def rescued(self, claim: Claim, error: Exception) -> Hit[Any] | None:
        """Give the old value where computing a new one raised, if the policy lets it be served."""
        if claim.miss.rescue is None:
            return None
        backend = self._backend()
        try:
            value = backend.pack.value(claim.miss.rescue)
        except S3KVError:
            return None
        self.counters.error("stale-if-error")
        self._say("stale", f"an old value is served, for the function raised {self._shown(error)}")
        self._release(claim, Outcome.COMPUTE_YOURSELF)
        return Hit(value)

    def abandon(self, claim: Claim | Pending | Turn, error: BaseException) -> None:
        """Give up a claim: an exception is everybody's, an interruption is ours alone."""
        outcome = error if isinstance(error, Exception) else Outcome.LOOK_AGAIN
        self._release(claim, outcome)

    def _release(self, claim: Claim | Pending | Turn, outcome: Outcome | Exception) -> None:
        turn = claim if isinstance(claim, Turn) else claim.turn
        if not isinstance(claim, Turn):
            claim.leases.release()
        self._backend().flight.leave(turn, outcome)
