"""The control plane: boto3, for all that obstore cannot do, and for all of it after a fork."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Final

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
from s3kv_flow.errors import AccessDeniedError, S3KVError, StoreUnavailableError
from s3kv_flow.stores.answers import (
    code_of,
    date_of,
    etag_of,
    in_order,
    lock_headers,
    meta_of,
    of_version,
    status_of,
    tagging,
)
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.parts import IN_PARTS_FROM_BYTES, put_in_parts
from s3kv_flow.stores.protocols import PreconditionFailedError
from s3kv_flow.stores.requests import Boto3Requests, ExpectedError

DELETE_BATCH: Final = 1000
#: How many versions a page of their listing has; S3 gives no more.
VERSIONS_PAGE: Final = 1000
#: How servers say that a bucket has no Object Lock, or that they know no such thing.
_NO_SUCH_FEATURE: Final = {
    "InvalidRequest",
    "MethodNotAllowed",
    "NotImplemented",
    "ObjectLockConfigurationNotFoundError",
}


class Boto3Objects:
    """Every verb by boto3, and the calls on the bucket itself."""

    def __init__(self, connection: Connection) -> None:
        self._requests = Boto3Requests(connection)
        self._bucket_seen = False

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        condition: dict[str, Any] = {} if unless is None else {"IfNoneMatch": f'"{unless}"'}
        try:
            return self._read(name, condition)
        except ExpectedError as expected:
            return NOT_MODIFIED if expected.status == 304 else None

    def get_start(self, name: str, size_bytes: int) -> StoredObject | None:
        try:
            return self._read(name, {"Range": f"bytes=0-{size_bytes - 1}"})
        except ExpectedError:
            return None
        except StoreUnavailableError as error:
            if status_of(error.__cause__) == 416:  # it is empty, and has no first byte
                return self._read(name, {})
            raise

    def get_version(self, name: str, version: str) -> StoredObject | None:
        try:
            return self._read(name, of_version(version))
        except ExpectedError:
            return None

    def _read(self, name: str, options: Mapping[str, Any]) -> StoredObject:
        try:
            answer = self._requests.call("get_object", name, Key=name, **options)
            body = answer["Body"].read()
        except ExpectedError:
            raise
        except S3KVError:
            raise
        except Exception as error:  # the body broke off
            self._requests.raise_(error, name)
        _, _, whole = answer.get("ContentRange", "").partition("/")
        size = int(whole) if whole.isdigit() else len(body)
        return StoredObject(meta_of(name, answer, size), memoryview(body))

    def head(self, name: str) -> ObjectMeta | None:
        try:
            answer = self._requests.call("head_object", name, Key=name)
        except ExpectedError:
            self._bucket_exists(name)  # the answer to a HEAD has no body that would tell them apart
            return None
        return meta_of(name, answer, answer["ContentLength"])

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
        options: dict[str, Any] = lock_headers(lock) if lock else {}
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
            answer = self._requests.send("put_object", name, Body=data, **condition, **options)
        except ExpectedError as expected:
            # If-Match on an absent key answers 404: what was expected is not there.
            code = "PreconditionFailed" if expect not in (ANY, ABSENT) else str(expected.status)
            raise self._requests.failure(code, "", name, conditional=True) from expected
        return etag_of(answer)

    def _put_in_parts(
        self, name: str, body: Body, condition: Any, options: Any, tags: Tags | None
    ) -> ETag:
        def check() -> None:
            """Look whether the condition holds: not every server asks that of the last part itself."""
            if not condition:
                return
            found = self.head(name)
            etag = None if found is None else found.etag
            if etag != condition.get("IfMatch"):
                raise PreconditionFailedError("something else is there than was expected", key=name)

        answer = put_in_parts(self._requests, name, body, options, condition=condition, check=check)
        if tags:  # some servers lose them on the way
            version = answer.get("VersionId")
            with suppress(AccessDeniedError):
                kept = self.tags(name, version=version)
                if kept is not None and kept.tags != tags:
                    self.tag(name, tags, version=version)
        return etag_of(answer)

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
        answer = self._requests.call("delete_objects", objects[0]["Key"], Delete=wanted)
        kept = set()
        for refused in answer.get("Errors", ()):
            code = refused.get("Code", "unknown")
            if code in ("PreconditionFailed", "412"):
                kept.add(refused["Key"])
            elif code != "NoSuchKey":
                raise self._requests.failure(code, refused.get("Message", ""), refused.get("Key"))
        return kept

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        token: dict[str, Any] = {}
        while True:
            try:
                page = self._requests.call("list_objects_v2", prefix, Prefix=prefix, **token)
            except ExpectedError as expected:
                raise self._requests.failure("NoSuchBucket", "", None) from expected
            for found in page.get("Contents", ()):
                yield ObjectMeta(
                    found["Key"],
                    found["Size"],
                    etag_of(found),
                    found["LastModified"],
                )
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete_if(self, name: str, etag: ETag) -> None:
        with suppress(ExpectedError):
            self._requests.call("delete_object", name, Key=name, IfMatch=etag)

    def tags(self, name: str, *, version: str | None = None) -> Tagged | None:
        try:
            answer = self._requests.call(
                "get_object_tagging", name, Key=name, **of_version(version)
            )
        except ExpectedError:
            return None
        # An object that was written in parts on some servers has no set at all.
        found = {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}
        return Tagged(found, answer.get("VersionId"))

    def tag(self, name: str, tags: Tags, *, version: str | None = None) -> bool:
        wanted = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        try:
            self._requests.call(
                "put_object_tagging", name, Key=name, Tagging=wanted, **of_version(version)
            )
        except ExpectedError:
            return False
        return True

    def object_lock(self) -> bool:
        try:
            answer = self._requests.call("get_object_lock_configuration", None)
        except ExpectedError:
            return False
        except StoreUnavailableError as error:
            if code_of(error.__cause__) in _NO_SUCH_FEATURE:
                return False
            raise
        enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        return bool(enabled == "Enabled")

    def may_read_locks(self, name: str) -> bool:
        for verb in ("get_object_retention", "get_object_legal_hold"):
            try:
                self._requests.call(verb, name, Key=name)
            except AccessDeniedError:
                return False
            except ExpectedError:  # it has none
                continue
            except StoreUnavailableError as error:
                # How a server says "none" differs from one to the next; only a 403 matters.
                if not status_of(error.__cause__):
                    raise
        return True

    def protection(self, name: str, *, version: str | None = None) -> Protection | None:
        try:
            answer = self._requests.call("head_object", name, Key=name, **of_version(version))
        except ExpectedError:
            self._bucket_exists(name)
            return None
        except StoreUnavailableError as error:
            if status_of(error.__cause__) == 405:  # a delete marker
                return None
            raise
        until: datetime | None = answer.get("ObjectLockRetainUntilDate")
        lock = Lock(
            answer.get("ObjectLockMode"),
            None if until is None else until.astimezone(timezone.utc),
            answer.get("ObjectLockLegalHoldStatus") == "ON",
        )
        return Protection(meta_of(name, answer, answer["ContentLength"]), lock, date_of(answer))

    def retain(self, name: str, lock: Lock, *, version: str | None, bypass: bool = False) -> None:
        wanted = {"Mode": lock.mode, "RetainUntilDate": lock.retain_until}
        options = of_version(version)
        if bypass:
            options["BypassGovernanceRetention"] = True
        self._control("put_object_retention", name, Retention=wanted, **options)

    def hold(self, name: str, on: bool, *, version: str | None) -> None:
        wanted = {"Status": "ON" if on else "OFF"}
        self._control("put_object_legal_hold", name, LegalHold=wanted, **of_version(version))

    def _control(self, verb: str, name: str, **parameters: Any) -> None:
        try:
            self._requests.call(verb, name, Key=name, **parameters)
        except ExpectedError as expected:
            raise self._requests.failure(
                str(expected.status), "the object is gone", name
            ) from expected

    def versions(self, prefix: str) -> Iterator[Version]:
        markers: dict[str, Any] = {}
        while True:
            page = self._requests.call(
                "list_object_versions", prefix, Prefix=prefix, MaxKeys=VERSIONS_PAGE, **markers
            )
            yield from in_order(page)
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                markers["VersionIdMarker"] = page["NextVersionIdMarker"]

    def server_time(self) -> datetime:
        """Give the server's clock, to the second; the bucket is asked."""
        return date_of(self._requests.call("list_objects_v2", None, MaxKeys=1))

    def content_encoding(self, name: str) -> str | None:
        """Give what the server took the body to be encoded with."""
        return self._requests.call("head_object", name, Key=name).get("ContentEncoding") or None

    def bucket_property(self, verb: str) -> dict[str, Any] | None:
        """Give what boto3's ``verb`` tells of the bucket; None where it is not set or not known."""
        try:
            answer: dict[str, Any] = self._requests.call(verb, None)
        except ExpectedError:
            return None
        except StoreUnavailableError as error:
            if code_of(error.__cause__) in _NO_SUCH_FEATURE:
                return None
            raise
        return answer

    def put_lifecycle(self, configuration: Mapping[str, Any]) -> None:
        """Write all lifecycle rules of the bucket, in the place of those it has."""
        given = dict(configuration)
        rules = {"Rules": given.pop("Rules")}
        verb = "put_bucket_lifecycle_configuration"
        if not rules["Rules"]:  # S3 takes no empty list
            self._requests.call("delete_bucket_lifecycle", None)
            return
        self._requests.call(verb, None, LifecycleConfiguration=rules, **given)

    def create_bucket(self, *, object_lock: bool = False) -> bool:
        """Make the bucket; False where it was there already and ours."""
        region = self._requests.connection.resolved_region()
        place: dict[str, Any] = {}
        if region != "us-east-1" and self._requests.connection.endpoint_url is None:
            place["CreateBucketConfiguration"] = {"LocationConstraint": region}
        client = self._requests.client(retries=True)
        try:
            client.create_bucket(
                Bucket=self._requests.connection.bucket,
                ObjectLockEnabledForBucket=object_lock,
                **place,
            )
        except client.exceptions.BucketAlreadyOwnedByYou:
            return False
        except Exception as error:
            self._requests.raise_(error, None)
        return True

    def close(self) -> None:
        self._requests.close()

    def _bucket_exists(self, name: str) -> None:
        if not self._bucket_seen:
            with suppress(AccessDeniedError):
                next(self.list(name.rpartition("/")[0] + "/"), None)
            self._bucket_seen = True
