"""The control plane: boto3, for all that obstore cannot do, and for all of it after a fork."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

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
from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import S3KVError
from s3kv_flow.stores.connection import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    Connection,
)
from s3kv_flow.stores.failures import failure, raise_from_boto3

DELETE_BATCH: Final = 1000


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

    def _raise(self, error: Exception, name: str | None) -> Any:
        connection = self._connection
        raise_from_boto3(error, bucket=connection.bucket, endpoint=connection.endpoint, name=name)

    def _call(self, verb: str, name: str | None, *, retries: bool = True, **parameters: Any) -> Any:
        client = self._client(retries=retries)
        try:
            return getattr(client, verb)(Bucket=self._connection.bucket, **parameters)
        except Exception as error:
            if _status(error) in (304, 404) and not _no_bucket(error):
                raise _ExpectedError(_status(error)) from error
            self._raise(error, name)

    def get(self, name: str, *, unless: ETag | None = None) -> StoredObject | NotModified | None:
        condition: dict[str, Any] = {} if unless is None else {"IfNoneMatch": f'"{unless}"'}
        try:
            answer = self._call("get_object", name, Key=name, **condition)
            body = answer["Body"].read()
        except _ExpectedError as expected:
            return NOT_MODIFIED if expected.status == 304 else None
        except S3KVError:
            raise
        except Exception as error:  # the body broke off
            self._raise(error, name)
        return StoredObject(_meta(name, answer, len(body)), memoryview(body))

    def head(self, name: str) -> ObjectMeta | None:
        try:
            answer = self._call("head_object", name, Key=name)
        except _ExpectedError:
            self._bucket_exists()  # the answer to a HEAD has no body that would tell them apart
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
    ) -> ETag:
        options: dict[str, Any] = {}
        if expect is ABSENT:
            options["IfNoneMatch"] = "*"
        elif expect is not ANY:
            options["IfMatch"] = expect
        if tags:
            options["Tagging"] = tagging(tags)
        if metadata:
            options["Metadata"] = dict(metadata)
        data = body[0] if len(body) == 1 and isinstance(body[0], bytes) else b"".join(body)
        try:
            answer = self._call("put_object", name, retries=False, Key=name, Body=data, **options)
        except _ExpectedError as expected:
            # If-Match on an absent key answers 404: what was expected is not there.
            connection = self._connection
            code = "PreconditionFailed" if expect not in (ANY, ABSENT) else str(expected.status)
            raise failure(
                code, "", bucket=connection.bucket, endpoint=connection.endpoint, name=name
            ) from expected
        return ETag(answer["ETag"].strip('"'))

    def delete(self, names: Iterable[str]) -> int:
        count, rest = 0, iter(names)
        while batch := list(islice(rest, DELETE_BATCH)):
            wanted = {"Objects": [{"Key": name} for name in batch], "Quiet": True}
            answer = self._call("delete_objects", batch[0], Delete=wanted)
            for refused in answer.get("Errors", ()):
                if refused.get("Code") != "NoSuchKey":
                    raise failure(
                        refused.get("Code", "unknown"),
                        refused.get("Message", ""),
                        bucket=self._connection.bucket,
                        endpoint=self._connection.endpoint,
                        name=refused.get("Key"),
                    )
            count += len(batch)
        return count

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
                    ETag(found["ETag"].strip('"')),
                    found["LastModified"],
                )
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

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

    def _bucket_exists(self) -> None:
        if not self.__dict__.get("_bucket_seen"):
            next(self.list("lease/"), None)
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


def _status(error: Exception) -> int:
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def _no_bucket(error: Exception) -> bool:
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    return bool(answer.get("Error", {}).get("Code") == "NoSuchBucket")


def _meta(name: str, answer: Mapping[str, Any], size: int) -> ObjectMeta:
    return ObjectMeta(
        name=name,
        size_bytes=size,
        etag=ETag(answer["ETag"].strip('"')),
        modified=answer["LastModified"],
        metadata=dict(answer.get("Metadata", {})),
    )
