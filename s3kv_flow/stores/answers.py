"""What boto3 is told, and what it answers, in this library's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from s3kv_flow._model import ETag, Lock, ObjectMeta, Tags, Version


def status_of(error: BaseException | None) -> int:
    """Give the HTTP status that boto3 raised; 0 where there was none."""
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def code_of(error: BaseException | None) -> str:
    """Give S3's own word for what boto3 raised."""
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def of_version(version: str | None) -> dict[str, Any]:
    """Give the parameters that name a version, where there is one."""
    return {} if version is None else {"VersionId": version}


def tagging(tags: Tags) -> str:
    """Give the tags as the ``x-amz-tagging`` header wants them.

    A blank is ``%20``: some servers keep a ``+`` literally.
    """
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def lock_headers(lock: Lock) -> dict[str, Any]:
    """Give the parameters that lock what is written."""
    headers: dict[str, Any] = {}
    if lock.mode is not None:
        headers["ObjectLockMode"] = lock.mode
        headers["ObjectLockRetainUntilDate"] = lock.retain_until
    if lock.legal_hold:
        headers["ObjectLockLegalHoldStatus"] = "ON"
    return headers


def date_of(answer: Mapping[str, Any]) -> datetime:
    """Give the server's time of an answer, to the second (RFC 9110, section 6.6.1)."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def etag_of(answer: Mapping[str, Any]) -> ETag:
    """Give the ETag without its quotes."""
    return ETag(answer["ETag"].strip('"'))


def meta_of(name: str, answer: Mapping[str, Any], size: int) -> ObjectMeta:
    """Give what is known of an object that was read or asked for."""
    return ObjectMeta(
        name=name,
        size_bytes=size,
        etag=etag_of(answer),
        modified=answer["LastModified"],
        metadata=dict(answer.get("Metadata", {})),
        version=answer.get("VersionId"),
    )


def in_order(page: Mapping[str, Any]) -> list[Version]:
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
