"""The control plane: boto3, for all that obstore cannot do, and for all of it after a fork."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

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
    size_of,
)
from s3kv_flow._parallel import in_parallel
from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import AccessDeniedError, S3KVError, StoreUnavailableError
from s3kv_flow.stores.connection import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    Connection,
)
from s3kv_flow.stores.failures import failure, raise_from_boto3
from s3kv_flow.stores.protocols import PreconditionFailedError

DELETE_BATCH: Final = 1000
#: A larger object is written in parts, so that no second copy of it is made in memory.
IN_PARTS_FROM_BYTES: Final = 64 * 1024 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
WRITERS: Final = 4
#: S3 takes 10,000 parts at most (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
MOST_PARTS: Final = 9_000
#: How many versions a page of their listing has; S3 gives no more.
VERSIONS_PAGE: Final = 1000
#: How servers say that a bucket has no Object Lock, or that they know no such thing.
_NO_SUCH_FEATURE: Final = {
    "InvalidRequest",
    "MethodNotAllowed",
    "NotImplemented",
    "ObjectLockConfigurationNotFoundError",
}


#: What boto3 calls the conditions of a request.
_CONDITIONS: Final = ("IfMatch", "IfNoneMatch")


class Boto3Objects:
    """Every verb by boto3, and the calls on the bucket itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._forget()
        reset_after_fork(self._forget)

    def _forget(self) -> None:
        self._opening = threading.Lock()
        self._clients: dict[bool, Any] = {}

    def _client(self, *, retries: bool) -> Any:
        with self._opening:  # making a client is not safe under threads, using one is
            if retries not in self._clients:
                self._clients[retries] = self._open(retries=retries)
            return self._clients[retries]

    def _open(self, *, retries: bool) -> Any:
        from botocore.config import Config

        connection = self._connection
        try:
            return connection.boto3_session().client(
                "s3",
                endpoint_url=connection.endpoint_url,
                region_name=connection.resolved_region(),
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"total_max_attempts": 3 if retries else 1, "mode": "standard"},
                    s3={"addressing_style": "path" if connection.endpoint_url else "auto"},
                    # Older servers refuse the checksum trailers that are boto3's default over https.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    max_pool_connections=32,
                ),
            )
        except S3KVError:
            raise
        except Exception as error:
            self._raise(error, None)

    def _raise(self, error: Exception, name: str | None, *, conditional: bool = False) -> Any:
        connection = self._connection
        raise_from_boto3(
            error,
            bucket=connection.bucket,
            endpoint=connection.endpoint,
            name=name,
            conditional=conditional,
        )

    def _call(self, verb: str, name: str | None, *, retries: bool = True, **parameters: Any) -> Any:
        client = self._client(retries=retries)
        try:
            return getattr(client, verb)(Bucket=self._connection.bucket, **parameters)
        except Exception as error:
            if _status(error) in (304, 404) and _code(error) != "NoSuchBucket":
                raise _ExpectedError(_status(error)) from error
            # A read's condition is answered 304.
            conditional = verb != "get_object" and not parameters.keys().isdisjoint(_CONDITIONS)
            self._raise(error, name, conditional=conditional)

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        condition: dict[str, Any] = {} if unless is None else {"IfNoneMatch": f'"{unless}"'}
        try:
            return self._read(name, condition)
        except _ExpectedError as expected:
            return NOT_MODIFIED if expected.status == 304 else None

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        try:
            return self._read(name, {"Range": f"bytes=0-{size_bytes - 1}"})
        except _ExpectedError:
            return None
        except StoreUnavailableError as error:
            if _status(error.__cause__) == 416:  # it is empty, and has no first byte
                return self._read(name, {})
            raise

    def get_version(self, name: str, version: str) -> StoredObject | None:
        try:
            return self._read(name, _version(version))
        except _ExpectedError:
            return None

    def _read(self, name: str, options: Mapping[str, Any]) -> StoredObject:
        try:
            answer = self._call("get_object", name, Key=name, **options)
            body = answer["Body"].read()
        except _ExpectedError:
            raise
        except S3KVError:
            raise
        except Exception as error:  # the body broke off
            self._raise(error, name)
        _, _, whole = answer.get("ContentRange", "").partition("/")
        size = int(whole) if whole.isdigit() else len(body)
        return StoredObject(_meta(name, answer, size), memoryview(body))

    def head(self, name: str) -> ObjectMeta | None:
        try:
            answer = self._call("head_object", name, Key=name)
        except _ExpectedError:
            self._bucket_exists(name)  # the answer to a HEAD has no body that would tell them apart
            return None
        return _meta(name, answer, answer["ContentLength"])

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
        condition: dict[str, Any] = {}
        if expect is ABSENT:
            condition["IfNoneMatch"] = "*"
        elif expect is not ANY:
            condition["IfMatch"] = expect
        options: dict[str, Any] = _lock_headers(lock) if lock else {}
        if tags:
            options["Tagging"] = tagging(tags)
        if metadata:
            options["Metadata"] = dict(metadata)
        try:
            if size_of(body) > IN_PARTS_FROM_BYTES:
                return self._put_in_parts(name, body, condition, options, tags)
            data = b"".join(body)
            if lock:  # AWS wants a checksum of the body with a lock
                from hashlib import md5

                digest = md5(data, usedforsecurity=False).digest()
                options["ContentMD5"] = b64encode(digest).decode()
            answer = self._send("put_object", name, Body=data, **condition, **options)
        except _ExpectedError as expected:
            # If-Match on an absent key answers 404: what was expected is not there.
            connection = self._connection
            code = "PreconditionFailed" if expect not in (ANY, ABSENT) else str(expected.status)
            raise failure(
                code,
                "",
                bucket=connection.bucket,
                endpoint=connection.endpoint,
                name=name,
                conditional=True,
            ) from expected
        return _etag(answer)

    def _send(self, verb: str, name: str, **parameters: Any) -> Any:
        """Send a write: once, for a second one would meet what the first one wrote."""
        return self._call(verb, name, retries=False, Key=name, **parameters)

    def _check(self, name: str, condition: Mapping[str, str]) -> None:
        """Look whether a condition holds: not every server asks that of the last part itself."""
        if not condition:
            return
        found = self.head(name)
        etag = None if found is None else found.etag
        if etag != condition.get("IfMatch"):
            raise PreconditionFailedError("something else is there than was expected", key=name)

    def _put_in_parts(
        self, name: str, body: Body, condition: Any, options: Any, tags: Tags | None
    ) -> ETag:
        """Write a large object part by part, several at once; it is there when the last is."""
        upload = self._send("create_multipart_upload", name, **options)["UploadId"]

        def send(part: tuple[int, bytearray]) -> dict[str, Any]:
            number, data = part
            # A part may be sent again: it replaces itself.
            answer = self._call(
                "upload_part", name, Key=name, UploadId=upload, PartNumber=number, Body=data
            )
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            size = max(PART_BYTES, -(-size_of(body) // MOST_PARTS))
            parts = list(
                in_parallel(send, enumerate(_joined(body, size), 1), workers=WRITERS, ahead=1)
            )
            self._check(name, condition)
            answer = self._send(
                "complete_multipart_upload",
                name,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **condition,
            )
        except BaseException:
            with suppress(Exception):  # parts that nobody completes cost money
                self._call("abort_multipart_upload", name, Key=name, UploadId=upload)
            raise
        if tags:  # some servers lose them on the way
            version = answer.get("VersionId")
            with suppress(AccessDeniedError):
                kept = self.tags(name, version=version)
                if kept is not None and kept.tags != tags:
                    self.tag(name, tags, version=version)
        return _etag(answer)

    def delete(self, names: Iterable[str]) -> int:
        count, rest = 0, iter(names)
        while batch := list(islice(rest, DELETE_BATCH)):
            self._delete([{"Key": name} for name in batch])
            count += len(batch)
        return count

    def delete_each_if(self, expected: Sequence[tuple[str, ETag]]) -> set[str]:
        return self._delete([{"Key": name, "ETag": etag} for name, etag in expected])

    def _delete(self, objects: list[dict[str, str]]) -> set[str]:
        """Delete objects in one request; give those whose condition did not hold."""
        wanted = {"Objects": objects, "Quiet": True}
        answer = self._call("delete_objects", objects[0]["Key"], Delete=wanted)
        kept = set()
        for refused in answer.get("Errors", ()):
            code = refused.get("Code", "unknown")
            if code in ("PreconditionFailed", "412"):
                kept.add(refused["Key"])
            elif code != "NoSuchKey":
                raise failure(
                    code,
                    refused.get("Message", ""),
                    bucket=self._connection.bucket,
                    endpoint=self._connection.endpoint,
                    name=refused.get("Key"),
                )
        return kept

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        token: dict[str, Any] = {}
        while True:
            try:
                page = self._call("list_objects_v2", prefix, Prefix=prefix, **token)
            except _ExpectedError as expected:
                raise failure(
                    "NoSuchBucket",
                    "",
                    bucket=self._connection.bucket,
                    endpoint=self._connection.endpoint,
                    name=None,
                ) from expected
            for found in page.get("Contents", ()):
                yield ObjectMeta(
                    found["Key"],
                    found["Size"],
                    _etag(found),
                    found["LastModified"],
                )
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete_if(self, name: str, etag: ETag) -> None:
        with suppress(_ExpectedError):
            self._call("delete_object", name, Key=name, IfMatch=etag)

    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        try:
            answer = self._call("get_object_tagging", name, Key=name, **_version(version))
        except _ExpectedError:
            return None
        # An object that was written in parts on some servers has no set at all.
        found = {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}
        return Tagged(found, answer.get("VersionId"))

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        wanted = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        try:
            self._call("put_object_tagging", name, Key=name, Tagging=wanted, **_version(version))
        except _ExpectedError:
            return False
        return True

    def object_lock(self) -> bool:
        try:
            answer = self._call("get_object_lock_configuration", None)
        except _ExpectedError:
            return False
        except StoreUnavailableError as error:
            if _code(error.__cause__) in _NO_SUCH_FEATURE:
                return False
            raise
        enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        return bool(enabled == "Enabled")

    def may_read_locks(self, name: str) -> bool:
        for verb in ("get_object_retention", "get_object_legal_hold"):
            try:
                self._call(verb, name, Key=name)
            except AccessDeniedError:
                return False
            except _ExpectedError:  # it has none
                continue
            except StoreUnavailableError as error:
                # How a server says "none" differs from one to the next; only a 403 matters.
                if not _status(error.__cause__):
                    raise
        return True

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        try:
            answer = self._call("head_object", name, Key=name, **_version(version))
        except _ExpectedError:
            self._bucket_exists(name)
            return None
        except StoreUnavailableError as error:
            if _status(error.__cause__) == 405:  # a delete marker
                return None
            raise
        until: datetime | None = answer.get("ObjectLockRetainUntilDate")
        lock = Lock(
            answer.get("ObjectLockMode"),
            None if until is None else until.astimezone(timezone.utc),
            answer.get("ObjectLockLegalHoldStatus") == "ON",
        )
        return Protection(_meta(name, answer, answer["ContentLength"]), lock, _date(answer))

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        wanted = {"Mode": lock.mode, "RetainUntilDate": lock.retain_until}
        options = _version(version)
        if bypass:
            options["BypassGovernanceRetention"] = True
        self._control("put_object_retention", name, Retention=wanted, **options)

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        wanted = {"Status": "ON" if on else "OFF"}
        self._control("put_object_legal_hold", name, LegalHold=wanted, **_version(version))

    def _control(self, verb: str, name: str, **parameters: Any) -> None:
        try:
            self._call(verb, name, Key=name, **parameters)
        except _ExpectedError as expected:
            connection = self._connection
            raise failure(
                str(expected.status),
                "the object is gone",
                bucket=connection.bucket,
                endpoint=connection.endpoint,
                name=name,
            ) from expected

    def versions(self, prefix: str) -> Iterator[Version]:
        markers: dict[str, Any] = {}
        while True:
            page = self._call(
                "list_object_versions", prefix, Prefix=prefix, MaxKeys=VERSIONS_PAGE, **markers
            )
            yield from _in_order(page)
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                markers["VersionIdMarker"] = page["NextVersionIdMarker"]

    def server_time(self) -> datetime:
        """Give the server's clock, to the second; the bucket is asked."""
        return _date(self._call("list_objects_v2", None, MaxKeys=1))

    def content_encoding(self, name: str) -> str | None:
        """Give what the server took the body to be encoded with."""
        return self._call("head_object", name, Key=name).get("ContentEncoding") or None

    def bucket_property(self, verb: str) -> dict[str, Any] | None:
        """Give what boto3's ``verb`` tells of the bucket; None where it is not set or not known."""
        try:
            answer: dict[str, Any] = self._call(verb, None)
        except _ExpectedError:
            return None
        except StoreUnavailableError as error:
            if _code(error.__cause__) in _NO_SUCH_FEATURE:
                return None
            raise
        return answer

    def put_lifecycle(self, configuration: Mapping[str, Any]) -> None:
        """Write all lifecycle rules of the bucket, in the place of those it has."""
        given = dict(configuration)
        rules = {"Rules": given.pop("Rules")}
        verb = "put_bucket_lifecycle_configuration"
        if not rules["Rules"]:  # S3 takes no empty list
            self._call("delete_bucket_lifecycle", None)
            return
        self._call(verb, None, LifecycleConfiguration=rules, **given)

    def create_bucket(self, *, object_lock: bool = False) -> bool:
        """Make the bucket; False where it was there already and ours."""
        region = self._connection.resolved_region()
        place: dict[str, Any] = {}
        if region != "us-east-1" and self._connection.endpoint_url is None:
            place["CreateBucketConfiguration"] = {"LocationConstraint": region}
        client = self._client(retries=True)
        try:
            client.create_bucket(
                Bucket=self._connection.bucket, ObjectLockEnabledForBucket=object_lock, **place
            )
        except client.exceptions.BucketAlreadyOwnedByYou:
            return False
        except Exception as error:
            self._raise(error, None)
        return True

    def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _bucket_exists(self, name: str) -> None:
        if not self.__dict__.get("_bucket_seen"):
            with suppress(AccessDeniedError):
                next(self.list(name.rpartition("/")[0] + "/"), None)
            self._bucket_seen = True


class _ExpectedError(Exception):
    """An HTTP status that is an answer, not a failure."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def tagging(tags: Tags) -> str:
    """Give the tags as the ``x-amz-tagging`` header wants them.

    A blank is ``%20``: some servers keep a ``+`` literally.
    """
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def _status(error: BaseException | None) -> int:
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def _code(error: BaseException | None) -> str:
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def _version(version: str | None) -> dict[str, Any]:
    return {} if version is None else {"VersionId": version}


def _joined(body: Body, size: int) -> Iterator[bytearray]:
    """Cut a body into pieces of one size, and a last one."""
    pending = bytearray()
    for part in body:
        view = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
        while view.nbytes:
            piece = view[: size - len(pending)]
            view = view[piece.nbytes :]
            pending += piece
            if len(pending) == size:
                yield pending
                pending = bytearray()
    if pending:
        yield pending


def _lock_headers(lock: Lock) -> dict[str, Any]:
    """Give the parameters that lock what is written."""
    headers: dict[str, Any] = {}
    if lock.mode is not None:
        headers["ObjectLockMode"] = lock.mode
        headers["ObjectLockRetainUntilDate"] = lock.retain_until
    if lock.legal_hold:
        headers["ObjectLockLegalHoldStatus"] = "ON"
    return headers


def _date(answer: Mapping[str, Any]) -> datetime:
    """Give the server's time of an answer, to the second (RFC 9110, section 6.6.1)."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _in_order(page: Mapping[str, Any]) -> list[Version]:
    """Put versions and delete markers, which come apart, together: newest first of each object.

    An object whose versions fill pages is last on one page and first on the next, so that all of
    it comes together; not every server lists by name.
    """
    found = [
        (one["Key"], one["LastModified"], one["IsLatest"], one["VersionId"], marker)
        for marker, kind in enumerate(("Versions", "DeleteMarkers"))
        for one in page.get(kind, ())
    ]
    first = page.get("KeyMarker")
    last = page.get("NextKeyMarker") if page.get("IsTruncated") else None

    def order(one: tuple[str, datetime, bool, str, int]) -> tuple[bool, bool, str, bool, float]:
        key, modified, latest, _, _ = one
        return key != first, key == last, key, not latest, -modified.timestamp()

    found.sort(key=order)
    return [
        Version(key, version, latest, bool(marker)) for key, _, latest, version, marker in found
    ]


def _etag(answer: Mapping[str, Any]) -> ETag:
    return ETag(answer["ETag"].strip('"'))


def _meta(name: str, answer: Mapping[str, Any], size: int) -> ObjectMeta:
    return ObjectMeta(
        name=name,
        size_bytes=size,
        etag=_etag(answer),
        modified=answer["LastModified"],
        metadata=dict(answer.get("Metadata", {})),
        version=answer.get("VersionId"),
    )
