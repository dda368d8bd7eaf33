"""One small protocol a verb; a store is whatever has the verbs it is asked for.

Preconditions are values (`ANY`, `ABSENT`, an ETag), not flags. Names are full object names.
Every store raises this library's own errors and no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

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
from s3kv_flow.errors import S3KVError


class PreconditionFailedError(S3KVError):
    """What the writer expected to find was not there; for the callers of a store, not of the API."""

    code = "precondition-failed"


class Get(Protocol):
    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        """Give the object; None where S3 says it is absent; NOT_MODIFIED where ``unless`` holds."""


class GetStart(Protocol):
    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        """Give the object's first bytes, all of it where it is shorter; None where it is absent."""


class Head(Protocol):
    def head(self, name: str) -> ObjectMeta | None:
        """Give what is known of the object, metadata included; None where S3 says it is absent."""


class Put(Protocol):
    def put(
        self,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        metadata: Mapping[str, str] | None = None,
        tags: Tags | None = None,
    ) -> ETag:
        """Write the object whole, value, metadata and tags at once.

        Never sent twice by itself: a repeated create that had succeeded would read as lost.

        Raises
        ------
        PreconditionFailedError
            Something else than ``expect`` is there.
        """


class Delete(Protocol):
    def delete(self, names: Iterable[str]) -> int:
        """Delete the objects, absent ones included, in batches; give how many were named."""


class List(Protocol):
    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        """Give all objects whose names begin with ``prefix``, lazily and in no promised order."""


class ObjectStore(Get, GetStart, Head, Put, Delete, List, Protocol):
    """All verbs of the data plane."""

    def close(self) -> None:
        """Let go of connections. The store may be used again afterwards."""


class DeleteIf(Protocol):
    def delete_if(self, name: str, etag: ETag) -> None:
        """Delete the object if it is still the one with ``etag``.

        Raises
        ------
        PreconditionFailedError
            It is another one by now; or gone, on some servers.
        """


class DeleteEachIf(Protocol):
    def delete_each_if(self, expected: Sequence[tuple[str, ETag]]) -> Collection[str]:
        """Delete, in one request, each object that is still the one with its ETag.

        Returns
        -------
        collection of str
            Those that are others by now, and were kept.
        """


class Tagging(Protocol):
    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        """Give the object's tags; None where S3 says it is absent."""

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        """Put ``tags`` in the place of the object's; False where S3 says it is absent."""


class LockedPut(Put, Protocol):
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
        """Write the object whole, and lock the version that this makes."""


class Locking(Protocol):
    def object_lock(self) -> bool:
        """Whether the bucket has Object Lock."""

    def may_read_locks(self, name: str) -> bool:
        """Whether the credentials may see the lock of an object that is there.

        Without the right to, a HEAD shows a locked object as if it had no lock.
        """

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        """Give the object's lock, with the server's time; None where S3 says it is absent."""

    def get_version(self, name: str, version: str) -> StoredObject | None:
        """Give one version with its body."""

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        """Set the retention of one version; ``bypass`` may shorten a GOVERNANCE one."""

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        """Set or release the legal hold of one version."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """Give all versions of all objects whose names begin with ``prefix``, newest first each."""


class Time(Protocol):
    def server_time(self) -> datetime:
        """Give the server's clock (UTC), to the second."""


class Bucket(ObjectStore, LockedPut, DeleteIf, DeleteEachIf, Tagging, Locking, Time, Protocol):
    """All verbs of a bucket, data plane and control plane."""
