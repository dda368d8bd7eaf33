"""Stores for tests: one in memory, and wrappers that count and fail."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from s3kv_flow._clock import Clock
from s3kv_flow._kv import S3KV
from s3kv_flow._model import (
    ANY,
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
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.protocols import Bucket

R = TypeVar("R")


def memory_store(
    objects: Bucket | None = None,
    *,
    clock: Clock | None = None,
    object_lock: bool = False,
    **settings: Any,
) -> S3KV:
    """Give a store whose bucket is a dict of this process, with a local cache of its own.

    Parameters
    ----------
    objects : Bucket, optional
        Another object store than a new `MemoryStore`.
    clock : Clock, optional
        Another clock than the machine's.
    object_lock : bool
        Give a bucket whose keys can be locked.
    **settings
        What :class:`S3KV` takes.

    Examples
    --------
    >>> kv = memory_store()
    >>> kv["a"] = 1
    >>> dict(kv)
    {'a': 1}
    """
    folder = None
    if "cache_dir" not in settings:
        folder = settings["cache_dir"] = tempfile.mkdtemp(prefix="s3kv-memory-")
    store = S3KV._over(objects or MemoryStore(clock, object_lock=object_lock), clock, **settings)
    if folder is not None:
        weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    return store


class WrappedStore:
    """Passes every request on to another store; :meth:`request` is in the way of each."""

    def __init__(self, inner: Bucket) -> None:
        self.inner = inner

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        """Send one request."""
        return send()

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        return self.request("get", name, lambda: self.inner.get(name, unless=unless))

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        return self.request("get_start", name, lambda: self.inner.get_start(name, size_bytes))

    def head(self, name: str) -> ObjectMeta | None:
        return self.request("head", name, lambda: self.inner.head(name))

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
        def send() -> ETag:
            return self.inner.put(
                name, body, expect=expect, metadata=metadata, tags=tags, lock=lock
            )

        return self.request("put", name, send)

    def delete(self, names: Iterable[str]) -> int:
        named = list(names)
        first = named[0] if named else ""
        return self.request("delete", first, lambda: self.inner.delete(named))

    def delete_if(self, name: str, etag: ETag) -> None:
        return self.request("delete_if", name, lambda: self.inner.delete_if(name, etag))

    def delete_each_if(self, expected: Sequence[tuple[str, ETag]]) -> Collection[str]:
        first = expected[0][0] if expected else ""
        return self.request("delete_each_if", first, lambda: self.inner.delete_each_if(expected))

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        return self.request("list", prefix, lambda: self.inner.list(prefix))

    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        return self.request("tags", name, lambda: self.inner.tags(name, version=version))

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        return self.request("tag", name, lambda: self.inner.tag(name, tags, version=version))

    def object_lock(self) -> bool:
        return self.request("object_lock", "", self.inner.object_lock)

    def may_read_locks(self, name: str) -> bool:
        return self.request("may_read_locks", name, lambda: self.inner.may_read_locks(name))

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        return self.request(
            "protection", name, lambda: self.inner.protection(name, version=version)
        )

    def get_version(self, name: str, version: str) -> StoredObject | None:
        return self.request("get_version", name, lambda: self.inner.get_version(name, version))

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        def send() -> None:
            self.inner.retain(name, lock, version=version, bypass=bypass)

        return self.request("retain", name, send)

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        return self.request("hold", name, lambda: self.inner.hold(name, on, version=version))

    def versions(self, prefix: str) -> Iterator[Version]:
        return self.request("versions", prefix, lambda: self.inner.versions(prefix))

    def server_time(self) -> datetime:
        return self.request("server_time", "", self.inner.server_time)

    def close(self) -> None:
        self.inner.close()


class CountingStore(WrappedStore):
    """Counts the requests that reach another store.

    Examples
    --------
    >>> counting = CountingStore(MemoryStore())
    >>> kv = memory_store(counting)
    >>> kv.get("a")
    >>> dict(counting.requests)
    {'get': 1}
    """

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self.requests: Counter[str] = Counter()

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        """Count one request, and send it."""
        self.requests[verb] += 1
        return super().request(verb, name, send)


class FailingStore(CountingStore):
    """Raises in place of the next requests, as a network would.

    Set ``failure`` to what each request shall raise; None lets them through again.
    """

    def __init__(self, inner: Bucket, failure: Exception | None = None) -> None:
        super().__init__(inner)
        self.failure = failure

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        """Fail, or send the request."""

        def fail_or_send() -> R:
            if self.failure is not None:
                raise self.failure
            return send()

        return super().request(verb, name, fail_or_send)
