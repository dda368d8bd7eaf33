"""One small protocol a verb; a store is whatever has the verbs it is asked for.

Preconditions are values (`ANY`, `ABSENT`, an ETag), not flags. Names are full object names.
Every store raises this library's own errors and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

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
from s3kv_flow.errors import S3KVError


class PreconditionFailedError(S3KVError):
    """What the writer expected to find was not there; for the callers of a store, not of the API."""

    code = "precondition-failed"


class Get(Protocol):
    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        """Give the object; None where S3 says it is absent; NOT_MODIFIED where ``unless`` holds."""


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


class ObjectStore(Get, Head, Put, Delete, List, Protocol):
    """All verbs of the data plane."""

    def close(self) -> None:
        """Let go of connections. The store may be used again afterwards."""
