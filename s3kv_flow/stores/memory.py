"""An object store in this process: for tests, doctests and a first look."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone

from s3kv_flow._clock import Clock, SystemClock
from s3kv_flow._model import (
    ABSENT,
    ANY,
    NOT_MODIFIED,
    Body,
    ETag,
    NotModified,
    ObjectMeta,
    Precondition,
    StoredObject,
    Tags,
)
from s3kv_flow.stores.protocols import PreconditionFailedError


class MemoryStore:
    """Objects in a dict, with S3's rules for preconditions, tags and ETags.

    Examples
    --------
    >>> store = MemoryStore()
    >>> etag = store.put("a", [b"one"], expect=ABSENT)
    >>> store.get("a", unless=etag)
    <NotModified.NOT_MODIFIED: 'not modified'>
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[StoredObject, dict[str, str]]] = {}

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        found = self._objects.get(name)
        if found is None:
            return None
        return NOT_MODIFIED if found[0].meta.etag == unless else found[0]

    def head(self, name: str) -> ObjectMeta | None:
        found = self._objects.get(name)
        return None if found is None else found[0].meta

    def put(
        self,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        metadata: Mapping[str, str] | None = None,
        tags: Tags | None = None,
    ) -> ETag:
        data = b"".join(body)
        etag = ETag(hashlib.md5(data, usedforsecurity=False).hexdigest())
        modified = datetime.fromtimestamp(self._clock.now(), timezone.utc)
        meta = ObjectMeta(name, len(data), etag, modified, dict(metadata or {}))
        with self._lock:
            found = self._objects.get(name)
            held = ABSENT if found is None else found[0].meta.etag
            if expect is not ANY and expect != held:
                raise PreconditionFailedError("another write came first", key=name)
            self._objects[name] = (StoredObject(meta, memoryview(data)), dict(tags or {}))
        return etag

    def delete(self, names: Iterable[str]) -> int:
        count = 0
        for name in names:
            self._objects.pop(name, None)
            count += 1
        return count

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        for name in sorted(self._objects):
            if name.startswith(prefix) and (found := self._objects.get(name)) is not None:
                yield found[0].meta

    def tags(self, name: str) -> dict[str, str]:
        """Give the tags an object was written with."""
        return dict(self._objects[name][1])

    def close(self) -> None:
        """Keep the objects; there is nothing to let go of."""
