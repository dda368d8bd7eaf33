"""One bucket: obstore where it can serve, boto3 where it cannot."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Union

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
    size_of,
)
from s3kv_flow._process import reset_after_fork
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.stores.objects import ObstoreObjects
from s3kv_flow.stores.parts import IN_PARTS_FROM_BYTES

# obstore's own encoding of tags writes a blank as a plus, which some servers keep literally.
_PLAIN_TAG = re.compile(r"[A-Za-z0-9_.\-]*\Z")


class _ForkedChild:
    """Whether this process was forked from one that had obstore: then obstore hangs in it."""

    def __init__(self) -> None:
        self.of_obstore_user = False
        reset_after_fork(self.note)

    def note(self) -> None:
        if "obstore" in sys.modules:
            self.of_obstore_user = True


_forked = _ForkedChild()


class S3Store:
    """The objects of one S3 bucket.

    Parameters
    ----------
    connection : Connection
        Where the bucket is.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.control = Boto3Objects(connection)
        self._obstore = ObstoreObjects(connection)

    @property
    def _data(self) -> Union[ObstoreObjects, Boto3Objects]:
        return self.control if _forked.of_obstore_user else self._obstore

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        return self._data.get(name, unless=unless)

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        return self._data.get_start(name, size_bytes)

    def head(self, name: str) -> ObjectMeta | None:
        return self._data.head(name)

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
        # obstore sends no headers but those it knows, and no condition with parts.
        if lock or size_of(body) > IN_PARTS_FROM_BYTES:
            return self.control.put(
                name, body, expect=expect, metadata=metadata, tags=tags, lock=lock
            )
        plain = all(_PLAIN_TAG.match(text) for pair in (tags or {}).items() for text in pair)
        data = self._data if plain else self.control
        return data.put(name, body, expect=expect, metadata=metadata, tags=tags)

    def delete(self, names: Iterable[str]) -> int:
        return self._data.delete(names)

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        # obstore lists whole path segments only: `s3kv/test` would not find `s3kv/test_a.json`.
        data = self._data if not prefix or prefix.endswith("/") else self.control
        return data.list(prefix)

    def delete_if(self, name: str, etag: ETag) -> None:
        self.control.delete_if(name, etag)

    def delete_each_if(self, expected: Sequence[tuple[str, ETag]]) -> set[str]:
        return self.control.delete_each_if(expected)

    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        return self.control.tags(name, version=version)

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        return self.control.tag(name, tags, version=version)

    def object_lock(self) -> bool:
        return self.control.object_lock()

    def may_read_locks(self, name: str) -> bool:
        return self.control.may_read_locks(name)

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        return self.control.protection(name, version=version)

    def get_version(self, name: str, version: str) -> StoredObject | None:
        return self.control.get_version(name, version)

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        self.control.retain(name, lock, version=version, bypass=bypass)

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        self.control.hold(name, on, version=version)

    def versions(self, prefix: str) -> Iterator[Version]:
        return self.control.versions(prefix)

    def server_time(self) -> datetime:
        return self.control.server_time()

    def close(self) -> None:
        self._obstore.close()
        self.control.close()
