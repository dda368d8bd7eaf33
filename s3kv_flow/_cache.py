"""The memoized entries of one function: written once, by whoever comes first.

`begin` says what now: a hit, a turn to compute, or a wait for whoever computes. `publish` stores
and gives the *published* value; `abandon` lets the next one compute.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final, Union

from s3kv_flow._backend import Backend
from s3kv_flow._events import Counters
from s3kv_flow._layout import cache_name, entry_key
from s3kv_flow._lease import NO_LEASES, Leases, Turn, Wait
from s3kv_flow._model import (
    ABSENT,
    ANY,
    Blob,
    Cleared,
    Entry,
    ETag,
    Hit,
    Miss,
    MissReason,
    ObjectMeta,
    Opened,
    Outcome,
    Precondition,
    size_of,
)
from s3kv_flow._pack import Packed, UntrustedError
from s3kv_flow._policy import Policy
from s3kv_flow._process import reset_after_fork
from s3kv_flow._tags import check_tags, fill
from s3kv_flow.codecs.base import Codec
from s3kv_flow.codecs.model import declared_model
from s3kv_flow.codecs.registry import AUTO, Codecs, register_codec
from s3kv_flow.envelope.seal import UnknownKeyError
from s3kv_flow.errors import (
    AccessDeniedError,
    ConflictError,
    EncodingError,
    LockingUnavailableError,
    MissError,
    S3KVError,
    StoreUnavailableError,
    UnsafeCodecError,
    UnsafeCodecWarning,
)
from s3kv_flow.keys.call import BindingError, CallKey
from s3kv_flow.keys.code import Identity
from s3kv_flow.keys.digest import DIGESTS
from s3kv_flow.keys.parts import Parts
from s3kv_flow.keys.parts import dump as dump_parts
from s3kv_flow.keys.source import module_name
from s3kv_flow.tiers.chain import Found, UnreadableError

logger = logging.getLogger("s3kv_flow")

PUT_ATTEMPTS: Final = 5
#: What takes so long is worth the requests of a lease among all workers.
SLOW_SECONDS: Final = 1.0
#: How often whoever waits for another process looks again: seldom, once it has waited long.
FIRST_DELAY_SECONDS: Final = 0.02
LONGEST_DELAY_SECONDS: Final = 1.0
#: Up to which part of its ``max_age`` an entry may be computed again too early.
EARLY: Final = 0.1


# The values of a hit are made at each call, and a frozen dataclass takes several times as long.
@dataclass(slots=True)
class Call:
    """One call: its logical key, the name of its object, and its arguments."""

    key: str
    object_name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


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


class FunctionCache:
    """What is cached of one function.

    Parameters
    ----------
    function : callable
        The user's.
    policy : Policy
        Its options.
    backend : callable
        Gives the store's blocks, at each call: which store is the default may change.
    """

    def __init__(
        self, function: Callable[..., Any], policy: Policy, backend: Callable[[], Backend]
    ) -> None:
        self.policy = policy
        self.identity = Identity(function, policy.code, policy.version, policy.depends_on)
        named = policy.name if policy.name is not None else _default_name(function)
        self.name = cache_name(named)
        if isinstance(policy.codec, str):
            if policy.codec != AUTO:
                Codecs().named(policy.codec)  # a misspelt one is refused here and now
        else:
            register_codec(policy.codec)  # readers look it up by its name
        self._declared: Codec | None = None
        self._undeclared = policy.codec == AUTO
        self._look_for_declared()
        self.counters = Counters(self.name)
        self._keys = CallKey(
            function,
            self.identity,
            ignore=policy.ignore,
            key=policy.key,
            digest=DIGESTS[policy.key_hash],
        )
        self._backend = backend
        self._prefix = f"cache/{self.name}/"
        self._unchecked_seconds = policy.revalidate_after.total_seconds()
        self._max_age_seconds = _seconds(policy.age_limit)
        self._stale_seconds = _seconds(policy.stale_while_revalidate) or 0.0
        self._rescue_seconds = _seconds(policy.stale_if_error) or 0.0
        self._is_slow: bool | None = None
        self._said: set[str] = set()
        self._revalidating: set[str] = set()
        self._unlock()
        reset_after_fork(self._unlock)

    def _look_for_declared(self) -> None:
        """Learn how to read and write what the function is annotated to return."""
        if not self._undeclared:
            return
        try:
            self._declared = declared_model(self.identity.function)
        except Exception:  # not defined yet; the next miss asks again
            return
        self._undeclared = False
        if self._declared is not None:
            register_codec(self._declared)

    def _unlock(self) -> None:
        self._revalidating_lock = threading.Lock()
        self._revalidating.clear()

    @property
    def backend(self) -> Backend:
        """The blocks of the store, which may be another one at each call."""
        return self._backend()

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process it is made anew: no client, lock or counter travels.
        return FunctionCache, (self.identity.function, self.policy, self._backend)

    # Keys

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Give the call's key.

        Raises
        ------
        UnhashableArgumentError
            An argument has no stable key.
        TypeError
            The arguments do not fit the function.
        """
        digest = self._keys.of(args, kwargs)
        key = entry_key(self.name, digest)
        return Call(key, self._backend().layout.entry(key), args, kwargs)

    def call_or_none(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """Give the call's key; None where it has none, and the function shall just run."""
        try:
            if self._backend().mode == "off":
                return None
        except Exception as error:
            self._failed(error)
            return None
        try:
            return self.call(args, kwargs)
        except BindingError:
            return None  # the function itself says it better
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            self.counters.miss(MissReason.UNHASHABLE.value)
            self._say("key", f"computes without the cache: {error}")
            return None

    # Reading

    def look(self, call: Call, fresh: bool = False) -> Hit[Any] | None:
        """Look into the local tiers only, without waiting for anything; a stale hit is one, too."""
        backend = self._backend()
        if backend.mode == "refresh":
            return None

        def verify(blob: Blob) -> None:
            backend.verify(call.key, blob)

        found = backend.chain.look(
            call.object_name, verify, unchecked_seconds=self._unchecked_seconds
        )
        if found is None or self._expired(_opened(found), self._stale_seconds):
            return None
        try:
            hit = self._hit(backend, call, found)
        except S3KVError:
            return None  # `begin` looks again, and tells
        return None if fresh and hit.stale else hit

    def stored(self, call: Call) -> Hit[Any] | None:
        """Look everywhere, and compute nothing."""
        backend = self._backend()
        if backend.mode == "refresh":
            return None
        found: Hit[Any] | Miss | None = self.look(call) or self._find(call)
        return found if isinstance(found, Hit) and not found.stale else None

    def begin(self, call: Call) -> Step:
        """Say what now."""
        if self._backend().mode == "refresh":
            return self.claim(call)
        return self._begin(call, self._find)

    def revalidate(self, call: Call) -> Step:
        """Say what now, to whoever computes again what is served stale meanwhile."""

        def fresh(call: Call) -> Hit[Any] | Miss:
            found = self._find(call)
            if isinstance(found, Hit) and found.stale:
                return Miss(MissReason.EXPIRED, self._current(call))
            return found

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
            self._say(
                "revalidate", f"the old value is served on; computing it again raised {error!r}"
            )
        finally:
            self._revalidating.discard(call.object_name)

    def _begin(self, call: Call, find: Callable[[Call], Hit[Any] | Miss]) -> Step:
        backend = self._backend()
        turn = self._turn(backend, call)
        if isinstance(turn, Wait):
            return turn
        try:
            found = find(call)
            if isinstance(found, Hit):
                backend.flight.leave(turn, Outcome.LOOK_AGAIN)
                return found
            if backend.mode == "require_hit":
                raise self._missed(call, found)
            self.counters.miss(found.reason.value)
            leases = self._leases(backend, call, turn, found)
            if leases.acquire():
                return self._claim(call, turn, found, leases)
            return Pending(call, turn, found, leases, FIRST_DELAY_SECONDS)
        except BaseException as error:
            self.abandon(turn, error)
            raise

    def again(self, pending: Pending) -> Step:
        """Say what now, to whoever has waited for another process."""
        call, backend = pending.call, self._backend()
        try:
            pending.waited_seconds += pending.delay_seconds
            found = self._seen(backend, call)
            if found is None and pending.leases.acquire():
                # Its holder may have published between our look and our turn.
                found = self._seen(backend, call)
                if found is None:
                    return self._claim(call, pending.turn, pending.miss, pending.leases)
            if found is not None:
                self.counters.waited(pending.waited_seconds)
                pending.leases.release()
                backend.flight.leave(pending.turn, Outcome.LOOK_AGAIN)
                return found
        except BaseException as error:
            self.abandon(pending, error)
            raise
        pending.delay_seconds = min(2 * pending.delay_seconds, LONGEST_DELAY_SECONDS)
        return pending

    def _seen(self, backend: Backend, call: Call) -> Hit[Any] | None:
        """Look whether another process has published a fresh value."""
        found: Hit[Any] | Miss | None = self.look(call)
        if found is None and not backend.local_only:
            found = self._find(call)
        return found if isinstance(found, Hit) and not found.stale else None

    def _turn(self, backend: Backend, call: Call) -> Turn | Wait:
        if self.policy.single_flight is False:
            return Turn(call.object_name, None)
        return backend.flight.enter(call.object_name)

    def _leases(self, backend: Backend, call: Call, turn: Turn, miss: Miss) -> Leases:
        """Give the leases that computing a call takes, as far as its flight goes."""
        level = self.policy.single_flight
        if turn.future is None or backend.mode == "read_only":  # re-entrant, or published nowhere
            return NO_LEASES
        if level == "auto":
            slow = miss.slow if self._is_slow is None else self._is_slow
            level = "cluster" if slow else "host"
        return backend.leases(call.object_name, level)

    def _find(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere; a store that fails is a miss unless the caller wants to know."""
        backend = self._backend()
        try:
            if not backend.reachable():
                held = self._held(backend, call)
                if isinstance(held, Miss) and backend.mode != "offline":
                    self._failed_if_wanted()
                return held
            found = self.find(call)
            backend.breaker.succeeded()
            return found
        except (StoreUnavailableError, AccessDeniedError) as error:
            if isinstance(error, StoreUnavailableError):
                backend.breaker.failed()
            self._failed(error)
            # Without the right to list, S3 answers 403 for what is absent: still worth a create.
            replaces: Precondition | None = ABSENT if isinstance(error, AccessDeniedError) else None
            return Miss(MissReason.STORE_ERROR, replaces)

    def _failed_if_wanted(self) -> None:
        if self.policy.on_error == "raise":
            raise StoreUnavailableError(
                "the store did not answer several times, and is left alone for a while",
                way_out="Try again later, or leave on_error at 'compute'.",
            )

    def _held(self, backend: Backend, call: Call) -> Hit[Any] | Miss:
        """Look into the local tiers alone, for S3 is out of reach."""

        def verify(blob: Blob) -> None:
            backend.verify(call.key, blob)

        found = backend.chain.look(call.object_name, verify, unchecked_seconds=math.inf)
        if found is None:
            return Miss(MissReason.STORE_ERROR, None)
        if self._expired(_opened(found), self._stale_seconds):
            return self._expired_miss(found, None)
        return self._hit(backend, call, found)

    def find(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere; raises when the store fails."""
        self._look_for_declared()
        backend = self._backend()
        try:
            found = self._get(backend, call, self._unchecked_seconds)
            if found is not None and self._expired(_opened(found)) and found.tier != "remote":
                # Ours is too old, but another worker may have stored a fresh one.
                found = self._get(backend, call, 0.0)
            if found is None:
                return Miss(MissReason.ABSENT)
            if self._expired(_opened(found), self._stale_seconds):
                return self._expired_miss(found, found.blob.etag or ABSENT)
            try:
                return self._hit(backend, call, found)
            except S3KVError as error:
                backend.chain.drop(call.object_name)
                self._say("decode", f"stored entry is computed again: {error}")
                return Miss(MissReason.UNREADABLE, found.blob.etag or ABSENT)
        except UnreadableError as error:
            cause = error.cause
            untrusted = isinstance(cause, (UntrustedError, UnknownKeyError))
            self.counters.error(cause.code)
            self._say(cause.code, f"stored entry is not used: {cause}")
            reason = MissReason.UNTRUSTED if untrusted else MissReason.UNREADABLE
            return Miss(reason, None if untrusted else error.etag)

    def _get(self, backend: Backend, call: Call, unchecked_seconds: float) -> Found | None:
        def verify(blob: Blob) -> None:
            backend.verify(call.key, blob)

        def admit(meta: ObjectMeta, body: memoryview) -> Blob:
            return backend.admit(call.key, meta, backend.pack.open(call.key, body))

        found = backend.chain.get(
            call.object_name, verify, admit, unchecked_seconds=unchecked_seconds
        )
        if found is not None and found.revived is not None:
            self._failed(found.revived)
        return found

    def _hit(self, backend: Backend, call: Call, found: Found) -> Hit[Any]:
        opened = _opened(found)
        value = backend.pack.value(opened)
        self.counters.hit(
            found.tier,
            size_bytes=opened.payload.nbytes,
            seconds_saved=opened.header.get("compute", 0.0),
        )
        return Hit(value, self._due(backend, call, opened))

    def _expired_miss(self, found: Found, replaces: Precondition | None) -> Miss:
        opened = _opened(found)
        rescue = None if self._expired(opened, self._rescue_seconds) else opened
        slow = opened.header.get("compute", 0.0) >= SLOW_SECONDS
        return Miss(MissReason.EXPIRED, replaces, rescue, slow)

    def _expired(self, opened: Opened, more_seconds: float = 0.0) -> bool:
        limit = self._max_age_seconds
        if limit is None:
            return False
        age = self._backend().clock.now() - opened.header.get("created", 0.0)
        return bool(age >= limit + more_seconds)

    def _due(self, backend: Backend, call: Call, opened: Opened) -> bool:
        """Whether a hit should be computed again in the background.

        Each key a little before its time, so that a thousand that were stored together do not
        come due together.
        """
        limit = self._max_age_seconds
        if limit is None or not self._stale_seconds:
            return False
        early = limit * EARLY * (zlib.crc32(call.object_name.encode()) / 2**32)
        return bool(backend.clock.now() - opened.header.get("created", 0.0) >= limit - early)

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
        self._say("stale", f"an old value is served, for the function raised {error!r}")
        self._release(claim, Outcome.COMPUTE_YOURSELF)
        return Hit(value)

    def peek(self, call: Call) -> Entry | None:
        """Give what is known of a valid entry, without decoding its value."""
        backend = self._backend()
        try:
            found = self._get(backend, call, self._unchecked_seconds)
            if found is not None and self._expired(_opened(found)):
                found = self._get(backend, call, 0.0)
        except UnreadableError:
            return None
        if found is None or self._expired(_opened(found)):
            return None
        header = _opened(found).header
        created = header.get("created", 0.0)
        return Entry(
            key=call.key,
            name=self.name,
            created=datetime.fromtimestamp(created, timezone.utc),
            age_seconds=backend.clock.now() - created,
            size_bytes=found.blob.stored_bytes or found.blob.size_bytes,
            codec=header["codec"],
            tags=header.get("tags", {}),
            compute_seconds=header.get("compute", 0.0),
            producer=header.get("producer", {}),
        )

    def read(self, call: Call) -> Any:
        """Give the stored value.

        Raises
        ------
        MissError
            There is no valid one.
        """
        found = self.look(call) or self.find(call)
        if isinstance(found, Hit):
            return found.value
        raise self._missed(call, found)

    def _missed(self, call: Call, miss: Miss) -> MissError:
        return MissError(
            f"nothing is cached for this call ({miss.reason.value})",
            key=call.key,
            way_out="Call the function outside of mode 'require_hit', or get() it with default=.",
        )

    # Writing

    def claim(self, call: Call) -> Step:
        """Claim a call whatever is stored for it, for a refresh."""
        backend = self._backend()
        turn = self._turn(backend, call)
        if isinstance(turn, Wait):
            return turn
        try:
            replaces = self._current(call) if backend.reachable() else None
        except (StoreUnavailableError, AccessDeniedError) as error:
            try:
                self._failed(error)
            except BaseException as raised:
                self.abandon(turn, raised)
                raise
            replaces = None
        self.counters.miss(MissReason.REFRESH.value)
        return self._claim(call, turn, Miss(MissReason.REFRESH, replaces), NO_LEASES)

    def _claim(self, call: Call, turn: Turn, miss: Miss, leases: Leases) -> Claim:
        return Claim(call, turn, miss, self._tags_or_error(call), self._parts_text(call), leases)

    def parts(self, call: Call) -> Parts:
        """Give what a call's key is made of, by name."""
        return self._keys.parts(call.args, call.kwargs)

    def _parts_text(self, call: Call) -> str | None:
        try:
            return dump_parts(self.parts(call))
        except Exception:  # it only helps to explain
            logger.debug("no parts of the key of %s", call.key, exc_info=True)
            return None

    def _current(self, call: Call) -> Precondition:
        backend = self._backend()
        if backend.local_only or not backend.reachable():
            return ABSENT
        found = backend.objects.head(call.object_name)
        return ABSENT if found is None else found.etag

    def computing(self, claim: Claim) -> Any:
        """Mark the calls inside as made by whoever has the claim."""
        return self._backend().flight.computing(claim.turn)

    def publish(self, claim: Claim, value: Any, seconds: float) -> Any:
        """Store a value and give the published one: ours, or that of whoever came first."""
        backend = self._backend()
        outcome = Outcome.COMPUTE_YOURSELF
        self._is_slow = seconds >= SLOW_SECONDS
        try:
            if backend.mode == "read_only":
                return value
            stored, published = self._store(backend, claim, value, seconds)
            if stored:
                outcome = Outcome.LOOK_AGAIN
            return published
        finally:
            self._release(claim, outcome)

    def _store(
        self, backend: Backend, claim: Claim, value: Any, seconds: float
    ) -> tuple[bool, Any]:
        """Give whether others can now find it, and the published value."""
        call = claim.call
        tags = claim.tags
        try:
            if self.policy.cache_if is not None and not self.policy.cache_if(value):
                return False, value
            if isinstance(tags, Exception):
                raise tags
            about = self._about(backend, seconds, tags, claim.parts)
            self._look_for_declared()
            packed = backend.pack.pack(
                call.key, value, about, self.policy.codec, declared=self._declared
            )
        except UnsafeCodecError as error:
            if self.policy.on_error == "raise":
                raise
            self.counters.error(error.code)
            if error.code not in self._said:
                self._said.add(error.code)
                warnings.warn(f"{self.name}: {error}", UnsafeCodecWarning, stacklevel=5)
            return False, value
        except Exception as error:  # a codec may raise anything
            self._failed(error)
            return False, value
        etag: ETag | None = None
        replaces = claim.miss.replaces
        if not backend.local_only and replaces is not None and backend.reachable():
            try:
                etag = self._put(backend, call, packed, replaces, tags)
            except LockingUnavailableError as error:  # the lock was asked for; without it, nothing
                self._failed(error)
                return False, value
            except Exception as error:
                if isinstance(error, StoreUnavailableError):
                    backend.breaker.failed()
                self._failed(error)
            else:
                if etag is None:
                    return True, self._theirs(call, value)
        try:
            self._fill(backend, call, packed, etag)
        except Exception as error:
            self._failed(error)
            return etag is not None, value
        return bool(backend.chain.local) or etag is not None, value

    def _about(
        self, backend: Backend, seconds: float, tags: Mapping[str, str], parts: str | None
    ) -> dict[str, Any]:
        """Give what an entry's header says of it."""
        about: dict[str, Any] = {
            "name": self.name,
            "created": round(backend.clock.now(), 3),
            "compute": round(seconds, 6),
            "producer": _producer(),
        }
        if tags:
            about["tags"] = dict(tags)
        if parts is not None:
            about["parts"] = parts
        return about

    def _put(
        self,
        backend: Backend,
        call: Call,
        packed: Packed,
        expect: Precondition,
        tags: Mapping[str, str],
    ) -> ETag | None:
        parts = backend.pack.seal(packed)
        name, policy = call.object_name, self.policy
        lock = backend.writes.lock_for(name, call.key, policy.retention_days, policy.legal_hold)
        etag = backend.writes.put(call.key, name, parts, expect=expect, tags=tags, lock=lock)
        if etag is not None:
            self.counters.stored(size_of(parts), packed.header.get("compute", 0.0))
        return etag

    def _fill(self, backend: Backend, call: Call, packed: Packed, etag: ETag | None) -> None:
        if backend.chain.local:
            backend.chain.fill(call.object_name, backend.local_blob(packed, etag=etag))

    def _theirs(self, call: Call, ours: Any) -> Any:
        """Somebody else came first: give their value, so that all agree, if it can be read."""
        self._backend().chain.drop(call.object_name)
        found = self._find(call)
        return found.value if isinstance(found, Hit) else ours

    def put(self, call: Call, value: Any) -> None:
        """Store a value that was computed elsewhere, whatever is stored now.

        Raises
        ------
        EncodingError, UnsafeCodecError
            It cannot be stored.
        ConflictError
            Other writers came first, again and again.
        """
        backend = self._backend()
        tags = self._tags(call)
        about = self._about(backend, 0.0, tags, self._parts_text(call))
        packed = backend.pack.pack(call.key, value, about, self.policy.codec)
        etag: ETag | None = None
        if not backend.local_only:
            for _ in range(PUT_ATTEMPTS):
                etag = self._put(backend, call, packed, self._current(call), tags)
                if etag is not None:
                    break
            else:
                raise ConflictError(f"other writers came first {PUT_ATTEMPTS} times", key=call.key)
        self._fill(backend, call, packed, etag)

    def abandon(self, claim: Claim | Pending | Turn, error: BaseException) -> None:
        """Give up a claim: an exception is everybody's, an interruption is ours alone."""
        outcome = error if isinstance(error, Exception) else Outcome.LOOK_AGAIN
        self._release(claim, outcome)

    def _release(self, claim: Claim | Pending | Turn, outcome: Outcome | Exception) -> None:
        turn = claim if isinstance(claim, Turn) else claim.turn
        if not isinstance(claim, Turn):
            claim.leases.release()
        self._backend().flight.leave(turn, outcome)

    # Forgetting

    def invalidate(self, call: Call) -> None:
        """Forget one entry, everywhere."""
        backend = self._backend()
        if not backend.local_only:
            backend.writes.delete(call.key, call.object_name)
        backend.chain.drop(call.object_name)

    def clear(self) -> Cleared:
        """Forget all entries of this function, everywhere."""
        backend = self._backend()
        prefix = backend.layout.entries(self.name)
        if backend.local_only:
            return backend.chain.clear(prefix)
        size = 0

        def entries() -> Iterator[tuple[str, Precondition]]:
            nonlocal size
            for found in backend.objects.list(prefix):
                size += found.size_bytes
                yield found.name, ANY

        deleted = backend.delete_many(entries())
        backend.chain.clear(prefix)
        if deleted.locked:
            self._say("locked", f"{len(deleted.locked)} locked entries were kept")
        return Cleared(deleted.count, size)

    # Beside the point

    def _tags(self, call: Call) -> dict[str, str]:
        tags = self.policy.tags
        if not tags:
            return {}
        arguments = self._keys.arguments(call.args, call.kwargs)
        given = tags(arguments) if callable(tags) else fill(tags, arguments)
        return check_tags(given, key=call.key)

    def _tags_or_error(self, call: Call) -> Mapping[str, str] | Exception:
        """Fill the tags before the function runs, for it may change its arguments."""
        try:
            return self._tags(call)
        except Exception as error:
            return error

    def _failed(self, error: Exception) -> None:
        """Count what the caller is not to be bothered with, and say it once."""
        if self.policy.on_error == "raise":
            raise error
        code = error.code if isinstance(error, S3KVError) else type(error).__name__
        self.counters.error(code)
        what = "result is not stored" if isinstance(error, EncodingError) else "goes on without it"
        self._say(code, f"{what}: {error}")

    def _say(self, topic: str, text: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            logger.warning("cache %s: %s", self.name, text)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _opened(found: Found) -> Opened:
    assert found.blob.opened is not None  # the chain hands out verified blobs only
    return found.blob.opened


def _default_name(function: Callable[..., Any]) -> str:
    namespace = getattr(inspect.unwrap(function), "__globals__", None)
    module = module_name(getattr(function, "__module__", None), namespace)
    if module == "__main__":
        module = _notebook_name() or module
    qualified = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{qualified}"


def _notebook_name() -> str | None:
    """Give the name of the notebook this kernel runs, where its server tells."""
    path = os.environ.get("JPY_SESSION_NAME", "")
    stem, ending, _ = os.path.basename(path).partition(".ipynb")
    return stem if ending and stem else None


@lru_cache(maxsize=1)
def _machine() -> dict[str, str]:
    import platform  # slow to import, and asked for at the first result only

    python = f"{sys.implementation.name} {platform.python_version()}"
    return {"python": python, "host": platform.node()[:64]}


def _producer() -> dict[str, str]:
    return {**_machine(), "pid": str(os.getpid())}
