"""Storing what was computed, and forgetting it again."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from s3kv_flow._backend import Backend
from s3kv_flow._cache.calls import Call
from s3kv_flow._cache.reading import SLOW_SECONDS
from s3kv_flow._cache.turns import Claim, Turns
from s3kv_flow._model import ANY, Cleared, ETag, Hit, Outcome, Precondition, size_of
from s3kv_flow._pack import Packed
from s3kv_flow._tags import check_tags
from s3kv_flow.errors import (
    ConflictError,
    LockingUnavailableError,
    StoreUnavailableError,
    UnsafeCodecError,
    UnsafeCodecWarning,
)

PUT_ATTEMPTS: Final = 5


class Publishing(Turns):
    """Stores create-only, and gives what is published: ours, or what came first."""

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

    def put(
        self,
        call: Call,
        value: Any,
        *,
        seconds: float = 0.0,
        tags: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a value that was computed elsewhere, whatever is stored now.

        Parameters
        ----------
        call : Call
            Its call.
        value : object
            The value.
        seconds : float
            How long it took to compute.
        tags : mapping, optional
            In the place of those that the policy says.
        about : mapping, optional
            JSON values that stand in the entry's header.

        Raises
        ------
        EncodingError, UnsafeCodecError
            It cannot be stored.
        ConflictError
            Other writers came first, again and again.
        """
        backend = self._backend()
        tags = self._tags(call) if tags is None else check_tags(tags, key=call.key)
        header = self._about(backend, seconds, tags, self._parts_text(call))
        if about:
            header["about"] = dict(about)
        self._look_for_declared()
        packed = backend.pack.pack(
            call.key, value, header, self.policy.codec, declared=self._declared
        )
        etag: ETag | None = None
        if not backend.local_only:
            for _ in range(PUT_ATTEMPTS):
                etag = self._put(backend, call, packed, self._current(call), tags)
                if etag is not None:
                    break
            else:
                raise ConflictError(f"other writers came first {PUT_ATTEMPTS} times", key=call.key)
        self._fill(backend, call, packed, etag)

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


@lru_cache(maxsize=1)
def _machine() -> dict[str, str]:
    import platform  # slow to import, and asked for at the first result only

    python = f"{sys.implementation.name} {platform.python_version()}"
    return {"python": python, "host": platform.node()[:64]}


def _producer() -> dict[str, str]:
    return {**_machine(), "pid": str(os.getpid())}
