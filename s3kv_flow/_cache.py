"""The memoized entries of one function: written once, by whoever comes first.

`begin` says what now: a hit, a turn to compute, or a wait for whoever computes. `publish` stores
and gives the *published* value; `abandon` lets the next one compute.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Final

from s3kv_flow._backend import Backend
from s3kv_flow._events import Counters
from s3kv_flow._layout import cache_name, entry_key
from s3kv_flow._lease import Turn, Wait
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
from s3kv_flow._tags import check_tags, fill
from s3kv_flow.codecs.base import Codec
from s3kv_flow.codecs.model import declared_model
from s3kv_flow.codecs.registry import AUTO, Codecs, register_codec
from s3kv_flow.envelope.seal import UnknownKeyError
from s3kv_flow.errors import (
    AccessDeniedError,
    ConflictError,
    EncodingError,
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
        self.counters = Counters()
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
        limit = policy.age_limit
        self._max_age_seconds = None if limit is None else limit.total_seconds()
        self._said: set[str] = set()

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
            self._backend()
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

    def look(self, call: Call) -> Hit[Any] | None:
        """Look into the local tiers only, without waiting for anything."""
        backend = self._backend()

        def verify(blob: Blob) -> None:
            backend.verify(call.key, blob)

        found = backend.chain.look(
            call.object_name, verify, unchecked_seconds=self._unchecked_seconds
        )
        if found is None or self._expired(_opened(found)):
            return None
        try:
            return self._hit(backend, call, found)
        except S3KVError:
            return None  # `begin` looks again, and tells

    def begin(self, call: Call) -> Hit[Any] | Wait | Claim:
        """Say what now."""
        turn = self._backend().flight.enter(call.object_name)
        if isinstance(turn, Wait):
            return turn
        try:
            found = self._find(call)
        except BaseException as error:
            self.abandon(turn, error)
            raise
        if isinstance(found, Hit):
            self._backend().flight.leave(turn, Outcome.LOOK_AGAIN)
            return found
        self.counters.miss(found.reason.value)
        return self._claim(call, turn, found)

    def _find(self, call: Call) -> Hit[Any] | Miss:
        """Look everywhere; a store that fails is a miss unless the caller wants to know."""
        try:
            return self.find(call)
        except (StoreUnavailableError, AccessDeniedError) as error:
            self._failed(error)
            # Without the right to list, S3 answers 403 for what is absent: still worth a create.
            replaces: Precondition | None = ABSENT if isinstance(error, AccessDeniedError) else None
            return Miss(MissReason.STORE_ERROR, replaces)

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
            if self._expired(_opened(found)):
                return Miss(MissReason.EXPIRED, found.blob.etag or ABSENT)
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
        return Hit(value)

    def _expired(self, opened: Opened) -> bool:
        limit = self._max_age_seconds
        if limit is None:
            return False
        return bool(self._backend().clock.now() - opened.header.get("created", 0.0) >= limit)

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
        raise MissError(
            f"nothing is cached for this call ({found.reason.value})",
            key=call.key,
            way_out="Call the function, or give default=.",
        )

    # Writing

    def claim(self, call: Call) -> Wait | Claim:
        """Claim a call whatever is stored for it, for a refresh."""
        backend = self._backend()
        turn = backend.flight.enter(call.object_name)
        if isinstance(turn, Wait):
            return turn
        try:
            replaces = self._current(call)
        except (StoreUnavailableError, AccessDeniedError) as error:
            try:
                self._failed(error)
            except BaseException as raised:
                self.abandon(turn, raised)
                raise
            replaces = None
        self.counters.miss(MissReason.REFRESH.value)
        return self._claim(call, turn, Miss(MissReason.REFRESH, replaces))

    def _claim(self, call: Call, turn: Turn, miss: Miss) -> Claim:
        return Claim(call, turn, miss, self._tags_or_error(call), self._parts_text(call))

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
        if backend.local_only:
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
        try:
            stored, published = self._store(backend, claim, value, seconds)
            if stored:
                outcome = Outcome.LOOK_AGAIN
            return published
        finally:
            backend.flight.leave(claim.turn, outcome)

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
        if not backend.local_only and replaces is not None:
            try:
                etag = self._put(backend, call, packed, replaces, tags)
            except Exception as error:
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
        etag = backend.writes.put(call.key, call.object_name, parts, expect=expect, tags=tags)
        if etag is not None:
            self.counters.stored(size_of(parts))
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

    def abandon(self, claim: Claim | Turn, error: BaseException) -> None:
        """Give up a claim: an exception is everybody's, an interruption is ours alone."""
        turn = claim.turn if isinstance(claim, Claim) else claim
        outcome = error if isinstance(error, Exception) else Outcome.LOOK_AGAIN
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
