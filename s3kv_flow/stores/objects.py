"""The data plane: obstore, at about a tenth of boto3's CPU a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

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
from s3kv_flow._parallel import in_parallel
from s3kv_flow.errors import AccessDeniedError
from s3kv_flow.stores.connection import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    Connection,
)
from s3kv_flow.stores.failures import failure, from_obstore

if TYPE_CHECKING:
    from obstore.store import S3Store as ObstoreS3

_STATUS_416: Final = re.compile(r"status code: 416")
#: Reads are repeated by obstore itself; writes never are (see `Put`).
READ_RETRIES: Final = 2
DELETE_BATCH: Final = 1000
#: A larger object is read in pieces, side by side: measured, a third faster on one machine.
PARALLEL_FROM_BYTES: Final = 32 * 1024 * 1024
PIECE_BYTES: Final = 8 * 1024 * 1024
READERS: Final = 4
#: How often a large object is begun anew that is written while its pieces are read.
READ_ATTEMPTS: Final = 5


class ObstoreObjects:
    """The verbs of the data plane by obstore.

    Not for a forked child of a process that used obstore before: its runtime's threads are
    gone there and every call hangs. `S3Store` sees to that.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def _reads(self) -> ObstoreS3:
        return self._open(READ_RETRIES)

    @cached_property
    def _writes(self) -> ObstoreS3:
        return self._open(0)

    def _open(self, retries: int) -> ObstoreS3:
        from obstore.store import S3Store as ObstoreS3

        connection = self._connection
        options: dict[str, Any] = {"region": connection.resolved_region()}
        if connection.endpoint_url:
            options["endpoint"] = connection.endpoint_url
            options["virtual_hosted_style_request"] = False
        if connection.access_key_id and connection.secret_access_key:
            options["access_key_id"] = connection.access_key_id
            options["secret_access_key"] = connection.secret_access_key
            if connection.session_token:
                options["session_token"] = connection.session_token
        else:
            options["credential_provider"] = connection.credentials()
        return ObstoreS3(
            connection.bucket,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_SECONDS),
                "read_timeout": timedelta(seconds=READ_TIMEOUT_SECONDS),
                # The limit on the whole request would cut a slow large read in the middle.
                "timeout": timedelta(days=1),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=10),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(seconds=1),
                    "base": 2,
                },
            },
            **options,
        )

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        import obstore

        try:
            return self._read(name, {} if unless is None else {"if_none_match": f'"{unless}"'})
        except obstore.exceptions.NotModifiedError:
            return NOT_MODIFIED
        except obstore.exceptions.BaseError as error:
            raise self._failure(error, name) from error

    def _read(self, name: str, options: Any) -> StoredObject | None:
        import obstore

        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                answer = obstore.get(self._reads, name, options=options or None)
                meta = _meta(answer.meta, answer.attributes)
                whole = "range" not in options
                if not whole or meta.size_bytes <= PARALLEL_FROM_BYTES:
                    return StoredObject(meta, memoryview(answer.bytes()))
                return StoredObject(meta, self._in_pieces(meta))
            except FileNotFoundError as error:
                self._check_absent(error, name)
                return None
            except obstore.exceptions.PreconditionError:
                if attempt == READ_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _in_pieces(self, meta: ObjectMeta) -> memoryview:
        """Read a large object piece by piece, several at once, all of the same version."""
        import obstore

        store, body = self._reads, memoryview(bytearray(meta.size_bytes))

        def read(start: int) -> None:
            end = min(start + PIECE_BYTES, meta.size_bytes)
            options: Any = {"range": (start, end), "if_match": meta.etag}
            body[start:end] = memoryview(obstore.get(store, meta.name, options=options).bytes())

        for _ in in_parallel(read, range(0, meta.size_bytes, PIECE_BYTES), workers=READERS):
            pass
        return body

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        import obstore

        try:
            return self._read(name, {"range": (0, size_bytes)})
        except obstore.exceptions.BaseError as error:
            if _STATUS_416.search(str(error)):  # it is empty, and has no first byte
                return self._read(name, {})
            raise self._failure(error, name) from error

    def head(self, name: str) -> ObjectMeta | None:
        import obstore

        try:
            # obstore.head() leaves the user's metadata out.
            answer = obstore.get(self._reads, name, options={"head": True})
        except FileNotFoundError as error:
            self._bucket_exists(name)  # the answer to a HEAD has no body that would tell them apart
            self._check_absent(error, name)
            return None
        except obstore.exceptions.BaseError as error:
            raise self._failure(error, name) from error
        return _meta(answer.meta, answer.attributes)

    def put(
        self,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        metadata: Mapping[str, str] | None = None,
        tags: Tags | None = None,
    ) -> ETag:
        import obstore

        mode: Any = "overwrite"
        if expect is ABSENT:
            mode = "create"
        elif expect is not ANY:
            mode = {"e_tag": expect}
        try:
            answer = obstore.put(
                self._writes,
                name,
                next(iter(body)) if len(body) == 1 else iter(body),
                mode=mode,
                attributes=dict(metadata) if metadata else None,
                tags=dict(tags) if tags else None,
                use_multipart=False,
            )
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise self._failure(error, name, conditional=expect is not ANY) from error
        return _etag(answer["e_tag"])

    def delete(self, names: Iterable[str]) -> int:
        import obstore

        count, rest = 0, iter(names)
        while batch := list(islice(rest, DELETE_BATCH)):
            try:
                obstore.delete(self._reads, batch if len(batch) > 1 else batch[0])
            except (FileNotFoundError, obstore.exceptions.BaseError) as error:
                if not isinstance(error, FileNotFoundError) or "NoSuchBucket" in str(error):
                    raise self._failure(error, batch[0]) from error
            count += len(batch)
        return count

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        """List whole path segments: ``prefix`` must be empty or end in a slash."""
        import obstore

        try:
            for page in obstore.list(self._reads, prefix.rstrip("/") or None, chunk_size=1000):
                for found in page:
                    yield _meta(found, {})
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            raise self._failure(error, prefix) from error

    def close(self) -> None:
        for opened in ("_reads", "_writes"):
            self.__dict__.pop(opened, None)

    def _bucket_exists(self, name: str) -> None:
        """Ask once a connection whether the bucket is there at all."""
        if not self.__dict__.get("_bucket_seen"):
            with suppress(AccessDeniedError):  # then it is there
                next(self.list(name.rpartition("/")[0] + "/"), None)
            self._bucket_seen = True

    def _check_absent(self, error: Exception, name: str) -> None:
        if "<Code>NoSuchBucket</Code>" in str(error):
            raise self._failure(error, name) from error

    def _failure(self, error: Exception, name: str, *, conditional: bool = False) -> Exception:
        connection = self._connection
        if isinstance(error, FileNotFoundError) and "<Code>" not in str(error):
            return failure(
                "NoSuchBucket",
                str(error),
                bucket=connection.bucket,
                endpoint=connection.endpoint,
                name=name,
            )
        return from_obstore(
            error,
            bucket=connection.bucket,
            endpoint=connection.endpoint,
            name=name,
            conditional=conditional,
        )


def _etag(quoted: str | None) -> ETag:
    return ETag((quoted or "").strip('"'))


def _meta(found: Any, attributes: Mapping[Any, str]) -> ObjectMeta:
    return ObjectMeta(
        name=found["path"],
        size_bytes=found["size"],
        etag=_etag(found["e_tag"]),
        modified=found["last_modified"],
        metadata={str(key): value for key, value in attributes.items()},
        version=found.get("version"),
    )
