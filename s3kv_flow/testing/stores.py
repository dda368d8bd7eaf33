"""Stores for tests: one in memory, and wrappers that count and fail."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from s3kv_flow._clock import Clock
from s3kv_flow._kv import S3KV
from s3kv_flow._model import (
    ANY,
    Body,
    ETag,
    NotModified,
    ObjectMeta,
    Precondition,
    StoredObject,
    Tags,
)
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.protocols import ObjectStore


def memory_store(
    objects: ObjectStore | None = None, *, clock: Clock | None = None, **settings: Any
) -> S3KV:
    """Give a store whose bucket is a dict of this process, with a local cache of its own.

    Parameters
    ----------
    objects : ObjectStore, optional
        Another object store than a new `MemoryStore`.
    clock : Clock, optional
        Another clock than the machine's.
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
    store = S3KV._over(objects or MemoryStore(clock), clock, **settings)
    if folder is not None:
        weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    return store


class CountingStore:
    """Counts the requests that reach another store.

    Examples
    --------
    >>> counting = CountingStore(MemoryStore())
    >>> kv = memory_store(counting)
    >>> kv.add("a", 1)
    >>> dict(counting.requests)
    {'put': 1}
    """

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.requests: Counter[str] = Counter()

    def _count(self, verb: str, name: str) -> None:
        self.requests[verb] += 1

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        self._count("get", name)
        return self.inner.get(name, unless=unless)

    def head(self, name: str) -> ObjectMeta | None:
        self._count("head", name)
        return self.inner.head(name)

    def put(
        self,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        metadata: Mapping[str, str] | None = None,
        tags: Tags | None = None,
    ) -> ETag:
        self._count("put", name)
        return self.inner.put(name, body, expect=expect, metadata=metadata, tags=tags)

    def delete(self, names: Iterable[str]) -> int:
        named = list(names)
        self._count("delete", named[0] if named else "")
        return self.inner.delete(named)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        self._count("list", prefix)
        return self.inner.list(prefix)

    def close(self) -> None:
        self.inner.close()


class FailingStore(CountingStore):
    """Raises in place of the next requests, as a network would.

    Set ``failure`` to what each request shall raise; None lets them through again.
    """

    def __init__(self, inner: ObjectStore, failure: Exception | None = None) -> None:
        super().__init__(inner)
        self.failure = failure

    def _count(self, verb: str, name: str) -> None:
        super()._count(verb, name)
        if self.failure is not None:
            raise self.failure
