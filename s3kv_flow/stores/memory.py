"""An object store in this process: for tests, doctests and a first look."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from s3kv_flow._clock import Clock, SystemClock
from s3kv_flow._model import (
    ABSENT,
    ANY,
    NOT_MODIFIED,
    Body,
    ETag,
    Lock,
    NotModified,
    ObjectMeta,
    Precondition,
    Protection,
    StoredObject,
    Tagged,
    Tags,
    Version,
)
from s3kv_flow.errors import AccessDeniedError
from s3kv_flow.stores.protocols import PreconditionFailedError


@dataclass(frozen=True, slots=True)
class _Version:
    """One version: its object, or None for a delete marker."""

    stored: StoredObject | None
    version: str | None
    tags: dict[str, str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


class MemoryStore:
    """Objects in a dict, with S3's rules for preconditions, tags, versions and ETags.

    Parameters
    ----------
    clock : Clock, optional
        The server's.
    object_lock : bool
        Keep versions, and let them be locked.

    Examples
    --------
    >>> store = MemoryStore()
    >>> etag = store.put("a", [b"one"], expect=ABSENT)
    >>> store.get("a", unless=etag)
    <NotModified.NOT_MODIFIED: 'not modified'>
    """

    def __init__(self, clock: Clock | None = None, *, object_lock: bool = False) -> None:
        self._clock = clock or SystemClock()
        self._object_lock = object_lock
        self._lock = threading.Lock()
        self._objects: dict[str, list[_Version]] = {}
        self._made = 0

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), timezone.utc)

    def _current(self, name: str, version: str | None = None) -> _Version | None:
        """Give the version asked for, or the newest; None for delete markers."""
        versions = self._objects.get(name, [])
        for found in reversed(versions):
            if version is None or found.version == version:
                return found if found.stored is not None else None
        return None

    def _stored(self, name: str) -> StoredObject | None:
        found = self._current(name)
        return None if found is None else found.stored

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        found = self._stored(name)
        if found is None:
            return None
        return NOT_MODIFIED if found.meta.etag == unless else found

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        found = self._stored(name)
        return None if found is None else StoredObject(found.meta, found.body[:size_bytes])

    def head(self, name: str) -> ObjectMeta | None:
        found = self._stored(name)
        return None if found is None else found.meta

    def put(
        self,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        metadata: Mapping[str, str] | None = None,
        tags: Tags | None = None,
        lock: Lock | None = None,
    ) -> ETag:
        data = b"".join(body)
        etag = ETag(hashlib.md5(data, usedforsecurity=False).hexdigest())
        with self._lock:
            self._check(name, expect)
            version = self._next_version()
            meta = ObjectMeta(name, len(data), etag, self._now(), dict(metadata or {}), version)
            stored = StoredObject(meta, memoryview(data))
            self._add(name, _Version(stored, version, dict(tags or {}), lock or Lock()))
        return etag

    def _check(self, name: str, expect: Precondition) -> None:
        found = self._stored(name)
        held = ABSENT if found is None else found.meta.etag
        if expect is not ANY and expect != held:
            raise PreconditionFailedError("another write came first", key=name)

    def _next_version(self) -> str | None:
        self._made += 1
        return str(self._made) if self._object_lock else None

    def _add(self, name: str, version: _Version) -> None:
        kept = self._objects.get(name, []) if self._object_lock else []
        self._objects[name] = [*kept, version]

    def _replace(self, name: str, old: _Version, new: _Version) -> None:
        with self._lock:
            versions = self._objects[name]
            self._objects[name] = [new if one is old else one for one in versions]

    def delete(self, names: Iterable[str]) -> int:
        count = 0
        for name in names:
            with self._lock:
                self._delete(name)
            count += 1
        return count

    def _delete(self, name: str) -> None:
        if self._object_lock:
            self._add(name, _Version(None, self._next_version()))
        else:
            self._objects.pop(name, None)

    def delete_if(self, name: str, etag: ETag) -> None:
        with self._lock:
            self._check(name, etag)
            self._delete(name)

    def delete_each_if(self, expected: Sequence[tuple[str, ETag]]) -> set[str]:
        kept = set()
        for name, etag in expected:
            try:
                self.delete_if(name, etag)
            except PreconditionFailedError:
                if self.head(name) is not None:
                    kept.add(name)
        return kept

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        for name in sorted(self._objects):
            if name.startswith(prefix) and (found := self.head(name)) is not None:
                yield found

    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        found = self._current(name, version)
        return None if found is None else Tagged(dict(found.tags), found.version)

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        found = self._current(name, version)
        if found is not None:
            self._replace(name, found, replace(found, tags=dict(tags)))
        return found is not None

    def object_lock(self) -> bool:
        return self._object_lock

    def may_read_locks(self, name: str) -> bool:
        return True

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        found = self._current(name, version)
        if found is None or found.stored is None:
            return None
        return Protection(found.stored.meta, found.lock, self._now())

    def get_version(self, name: str, version: str) -> StoredObject | None:
        found = self._current(name, version)
        return None if found is None else found.stored

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        found = self._current(name, version)
        now = self.protection(name, version=version)
        if found is None or now is None or lock.retain_until is None:
            return
        old = now.holding
        weaker = (old.mode, lock.mode) == _WEAKENED
        if old.retain_until is not None:
            weaker = weaker or lock.retain_until < old.retain_until
        if weaker and (old.mode == "COMPLIANCE" or not bypass):
            raise AccessDeniedError("the version is locked", key=name)
        new = replace(lock, legal_hold=found.lock.legal_hold)
        self._replace(name, found, replace(found, lock=new))

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        found = self._current(name, version)
        if found is not None:
            new = replace(found, lock=replace(found.lock, legal_hold=on))
            self._replace(name, found, new)

    def versions(self, prefix: str) -> Iterator[Version]:
        for name in sorted(self._objects):
            if name.startswith(prefix):
                newest, *older = reversed(self._objects[name])
                for found in (newest, *older):
                    is_marker = found.stored is None
                    yield Version(name, found.version or "null", found is newest, is_marker)

    def server_time(self) -> datetime:
        return self._now()

    def close(self) -> None:
        """Keep the objects; there is nothing to let go of."""


_WEAKENED = ("COMPLIANCE", "GOVERNANCE")
