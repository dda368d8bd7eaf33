"""Looking for the value of a call: in the local tiers, then in S3, if that can be reached."""

from __future__ import annotations

import math
import zlib
from datetime import datetime, timezone
from typing import Any, Final

from s3kv_flow._backend import Backend
from s3kv_flow._cache.calls import Call, Calls
from s3kv_flow._model import (
    ABSENT,
    UNDECODED,
    Blob,
    Entry,
    Hit,
    Miss,
    MissReason,
    ObjectMeta,
    Opened,
    Precondition,
)
from s3kv_flow._pack import UntrustedError
from s3kv_flow.envelope.seal import UnknownKeyError
from s3kv_flow.errors import (
    AccessDeniedError,
    MissError,
    S3KVError,
    SealError,
    StoreUnavailableError,
)
from s3kv_flow.tiers.chain import REMOTE, Found, UnreadableError

#: What takes so long is worth the requests of a lease among all workers.
SLOW_SECONDS: Final = 1.0
#: Up to which part of its ``max_age`` an entry may be computed again too early.
EARLY: Final = 0.1


class Reading(Calls):
    """Looks; computes and stores nothing."""

    def look(self, call: Call, fresh: bool = False) -> Hit[Any] | None:
        """Look into the local tiers only, without waiting for anything; a stale hit is one, too."""
        backend = self._backend()
        if backend.mode == "refresh":
            return None
        found = backend.chain.look(
            call.object_name,
            call.key,
            backend.pack.open_local,
            unchecked_seconds=self._unchecked_seconds,
        )
        if found is None or (
            self._max_age_seconds is not None and self._expired(_opened(found), self._stale_seconds)
        ):
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

    def asked(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere for whoever computes and stores by themselves; a miss is counted.

        Raises
        ------
        MissError
            A miss, in mode ``"require_hit"``.
        """
        backend = self._backend()
        found: Hit[Any] | Miss
        if backend.mode in ("off", "refresh"):
            found = Miss(MissReason.REFRESH)
        else:
            found = self.look(call) or self._find(call)
        if isinstance(found, Hit) and found.stale:
            found = Miss(MissReason.EXPIRED)
        if isinstance(found, Miss):
            if backend.mode == "require_hit":
                raise self._missed(call, found)
            self.counters.miss(found.reason.value)
        return found

    def _find(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere; a store that fails is a miss unless the caller wants to know."""
        backend = self._backend()
        try:
            if not backend.reachable():
                held = self._held(backend, call)
                if isinstance(held, Miss) and backend.mode != "offline":
                    self._failed_if_wanted()
                return held
            return self.find(call)
        except (StoreUnavailableError, AccessDeniedError) as error:
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
        found = backend.chain.look(
            call.object_name, call.key, backend.pack.open_local, unchecked_seconds=math.inf
        )
        if found is None:
            return Miss(MissReason.STORE_ERROR, None)
        if self._expired(_opened(found), self._stale_seconds):
            return self._expired_miss(found, None)
        try:
            return self._hit(backend, call, found)
        except S3KVError:
            return Miss(MissReason.UNREADABLE, None)

    def find(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere; raises when the store fails."""
        self._look_for_declared()
        backend = self._backend()
        try:
            found = self._get(backend, call, self._unchecked_seconds)
            if found is not None and found.tier != REMOTE and self._expired(_opened(found)):
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
                self._say("decode", f"stored entry is computed again: {self._shown(error)}")
                return Miss(MissReason.UNREADABLE, found.blob.etag or ABSENT)
        except UnreadableError as error:
            cause = error.cause
            untrusted = isinstance(cause, (UntrustedError, UnknownKeyError))
            self.counters.error(cause.code)
            self._say(cause.code, f"stored entry is not used: {cause}")
            reason = MissReason.UNTRUSTED if untrusted else MissReason.UNREADABLE
            return Miss(reason, None if untrusted else error.etag)

    def _get(self, backend: Backend, call: Call, unchecked_seconds: float) -> Found | None:
        def admit(meta: ObjectMeta, body: memoryview) -> Blob:
            return backend.admit(call.key, meta, backend.pack.open(call.key, body))

        name, key, verify = call.object_name, call.key, backend.pack.open_local
        breaker = backend.breaker
        if backend.mode == "offline":
            return backend.chain.look(name, key, verify, unchecked_seconds=math.inf)
        began = backend.clock.now()
        try:
            found = backend.chain.get(name, key, verify, admit, unchecked_seconds=unchecked_seconds)
        except StoreUnavailableError:
            breaker.failed()
            raise
        except (AccessDeniedError, UnreadableError):
            breaker.succeeded()  # it answered
            raise
        if found is not None and found.revived is not None:
            if isinstance(found.revived, StoreUnavailableError):
                breaker.failed()
            self._failed(found.revived)
        elif found is None or found.tier == REMOTE or found.blob.checked >= began:
            breaker.succeeded()
        return found

    def _hit(self, backend: Backend, call: Call, found: Found) -> Hit[Any]:
        opened = found.blob.opened or _opened(found)
        value = opened.value
        if value is UNDECODED:
            value = backend.pack.value(opened)
        self.counters.hit(found.tier, opened.payload.nbytes, opened.compute_seconds)
        stale = self._stale_seconds > 0 and self._due(backend, call, opened)
        return Hit(value, stale, opened)

    def _expired_miss(self, found: Found, replaces: Precondition | None) -> Miss:
        opened = _opened(found)
        rescue = None if self._expired(opened, self._rescue_seconds) else opened
        slow = opened.compute_seconds >= SLOW_SECONDS
        return Miss(MissReason.EXPIRED, replaces, rescue, slow)

    def _expired(self, opened: Opened, more_seconds: float = 0.0) -> bool:
        limit = self._max_age_seconds
        if limit is None:
            return False
        age = self._backend().clock.now() - opened.created
        return bool(age >= limit + more_seconds)

    def _due(self, backend: Backend, call: Call, opened: Opened) -> bool:
        """Whether a hit should be computed again in the background.

        Each key a little before its time, so that a thousand that were stored together do not
        come due together.
        """
        limit = self._max_age_seconds
        if limit is None:
            return False
        early = limit * EARLY * (zlib.crc32(call.object_name.encode()) / 2**32)
        return bool(backend.clock.now() - opened.created >= limit - early)

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
        opened = _opened(found)
        try:
            header, created = opened.header, opened.created
        except SealError:  # a local copy, whose header a hit does not read
            backend.chain.drop(call.object_name)
            return None
        return Entry(
            key=call.key,
            name=self.name,
            created=datetime.fromtimestamp(created, timezone.utc),
            age_seconds=backend.clock.now() - created,
            size_bytes=found.blob.stored_bytes or found.blob.size_bytes,
            codec=opened.codec,
            tags=header.get("tags", {}),
            compute_seconds=opened.compute_seconds,
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


def _opened(found: Found) -> Opened:
    assert found.blob.opened is not None  # the chain hands out verified blobs only
    return found.blob.opened
