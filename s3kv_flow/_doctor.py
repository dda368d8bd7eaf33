"""What an endpoint and a bucket can and cannot do, what that costs, and how to mend it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from s3kv_flow._backend import Backend
from s3kv_flow._model import StoredObject
from s3kv_flow.errors import AccessDeniedError, S3KVError
from s3kv_flow.stores.s3 import S3Store

Status = Literal["ok", "degraded", "fault"]

#: Beyond this, ages are visibly wrong; beyond 15 minutes S3 refuses all requests.
SKEW_SECONDS: Final = 30
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_ODD_TAGS: Final = {"s3kv check": "a b+c", "ключ": "значение"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    check : str
        What.
    status : {"ok", "degraded", "fault"}
        Degraded works, with less than it could; a fault needs mending.
    said : str
        What was found, and what it means.
    mend : str
        What to do about it; empty where nothing is to be done.
    """

    check: str
    status: Status
    said: str
    mend: str = ""


def examine(backend: Backend) -> Iterator[Finding]:
    """Look at a store's endpoint and bucket; writes and deletes a few scratch objects.

    Raises
    ------
    StoreUnavailableError, AccessDeniedError
        The bucket cannot be reached or listed at all.
    """
    store = backend.objects
    if not isinstance(store, S3Store):
        yield Finding("endpoint", "ok", "the store is in memory")
        return
    examination = _Examination(backend, store)
    yield from examination.endpoint()
    writes = True
    for finding in examination.permissions():
        writes = writes and finding.status == "ok"
        yield finding
    checks: dict[str, Callable[[], Iterator[Finding]]] = {"absent keys": examination.absent}
    if writes:
        checks["bodies"] = examination.wire
        checks["conditions"] = examination.conditions
        checks["tags"] = examination.tags
    checks["versions"] = examination.versions
    checks["object lock"] = examination.locks
    checks["keyring"] = examination.trust
    for name, check in checks.items():
        try:
            yield from check()
        except S3KVError as error:
            yield Finding(
                name,
                "degraded",
                f"could not be looked at: {error.what}",
                error.way_out or "`s3kv policy --role maintainer` names the rights it takes.",
            )
    examination.clean()


class _Examination:
    def __init__(self, backend: Backend, store: S3Store) -> None:
        self._backend = backend
        self._store = store
        self._settings = backend.settings
        self._name = backend.layout.scratch(f"doctor-{os.urandom(6).hex()}")

    def clean(self) -> None:
        with suppress(S3KVError):  # `permissions` has said it
            self._store.delete([self._name])

    def endpoint(self) -> Iterator[Finding]:
        self._store.server_time()  # the first request also opens the connection
        began = time.perf_counter()
        server = self._store.server_time()
        took = (time.perf_counter() - began) * 1000
        where = self._settings.endpoint_url or "AWS"
        yield Finding(
            "endpoint", "ok", f"bucket {self._settings.bucket} at {where} answers ({took:.0f} ms)"
        )
        skew = abs((datetime.now(timezone.utc) - server).total_seconds())
        if skew > SKEW_SECONDS:
            yield Finding(
                "clock",
                "degraded",
                f"this machine's clock is {skew:.0f} s off the server's: ages are judged wrongly",
                "Set it (NTP).",
            )
        else:
            yield Finding("clock", "ok", f"within {max(skew, 1):.0f} s of the server's")
        url = urlsplit(where)
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            yield Finding(
                "encryption on the wire",
                "fault",
                "http beyond this machine: data and tags travel in the clear",
                "Use an https endpoint.",
            )

    def permissions(self) -> Iterator[Finding]:
        """Try each kind of request on a scratch object."""
        store, name = self._store, self._name
        tries: list[tuple[str, str, Callable[[], Any]]] = [
            (
                "list",
                "s3:ListBucket",
                lambda: next(store.list(self._backend.layout.root + "/"), None),
            ),
            ("write", "s3:PutObject", lambda: store.put(name, [b"{}"])),
            ("read", "s3:GetObject", lambda: store.get(name)),
            ("write tags", "s3:PutObjectTagging", lambda: store.tag(name, {"a": "b"})),
            ("read tags", "s3:GetObjectTagging", lambda: store.tags(name)),
            ("delete", "s3:DeleteObject", lambda: store.delete([name])),
        ]
        denied = []
        for verb, action, attempt in tries:
            try:
                attempt()
            except AccessDeniedError:
                denied.append((verb, action))
        if not denied:
            yield Finding("permissions", "ok", "list, read, write, tag and delete")
            return
        verbs = ", ".join(verb for verb, _ in denied)
        actions = ", ".join(action for _, action in denied)
        reads = not {"list", "read"} & {verb for verb, _ in denied}
        yield Finding(
            "permissions",
            "degraded" if reads else "fault",
            f"these credentials may not: {verbs}"
            + ("; hits are served, misses computed and not stored" if reads else ""),
            f"Grant {actions} (`s3kv policy --role writer`).",
        )

    def absent(self) -> Iterator[Finding]:
        try:
            self._store.head(f"{self._name}-absent")
        except AccessDeniedError:
            yield Finding(
                "absent keys",
                "degraded",
                "S3 answers 403 for what is not there, so that nothing can be told absent",
                "Grant s3:ListBucket on the bucket.",
            )
        else:
            yield Finding("absent keys", "ok", "are told from forbidden ones")

    def wire(self) -> Iterator[Finding]:
        """Bodies as they are on the wire, by both clients."""
        body = os.urandom(70_000)
        for client, put in (("obstore", self._store.put), ("boto3", self._store.control.put)):
            put(self._name, [body])
            found = self._store.get(self._name)
            encoding = self._store.control.content_encoding(self._name)
            if not isinstance(found, StoredObject) or bytes(found.body) != body or encoding:
                yield Finding(
                    "bodies",
                    "fault",
                    f"what {client} wrote came back as something else ({encoding or 'other bytes'})",
                    "Look for a proxy that changes requests, and at the server's version.",
                )
                return
        yield Finding("bodies", "ok", "come back as they were sent, by both clients")

    def conditions(self) -> Iterator[Finding]:
        can = self._backend.capabilities()
        yield _can(
            "create-only writes",
            can.create_only,
            "two workers that compute the same may both store it; single flight ends at the host",
        )
        yield _can(
            "compare-and-swap",
            can.compare_and_swap,
            "of two writes within milliseconds the later one wins: merges may lose an update, "
            "and a lock may come a moment too late",
        )
        yield _can(
            "conditional deletes",
            can.conditional_delete,
            "old tag markers are not collected; they cost storage only",
        )

    def tags(self) -> Iterator[Finding]:
        self._store.put(self._name, [b"{}"], tags=_ODD_TAGS)
        found = self._store.tags(self._name)
        if found is not None and dict(found.tags) == _ODD_TAGS:
            yield Finding("tags", "ok", "come back as they were given")
        else:
            got = {} if found is None else dict(found.tags)
            yield Finding(
                "tags",
                "fault",
                f"tags came back as {got}: keys are not found by such tags",
                "Keep to letters, digits and dashes.",
            )

    def versions(self) -> Iterator[Finding]:
        status = (self._store.control.bucket_property("get_bucket_versioning") or {}).get("Status")
        if status != "Enabled":
            yield Finding("versions", "ok", "none are kept")
            return
        rules = (
            self._store.control.bucket_property("get_bucket_lifecycle_configuration") or {}
        ).get("Rules", [])
        root = self._backend.layout.root
        missing = [
            part
            for part in ("cache", "index", "lease")
            if not any(_expires(rule, f"{root}/{part}/") for rule in rules)
        ]
        if missing:
            yield Finding(
                "versions",
                "degraded",
                "every version is kept, of markers, leases and results too, and nothing ends them",
                "Let `s3kv lifecycle apply` write rules that end them after a day, for "
                + ", ".join(f"{root}/{part}/" for part in missing)
                + ".",
            )
        else:
            yield Finding("versions", "ok", "are kept, and old ones of the library's own expire")

    def locks(self) -> Iterator[Finding]:
        control = self._store.control
        if not self._store.object_lock():
            yield Finding(
                "object lock",
                "ok",
                "off: keys cannot be locked. It is enabled when a bucket is made",
            )
            return
        found = control.bucket_property("get_object_lock_configuration") or {}
        rule = found.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
        if rule:
            yield Finding(
                "object lock",
                "fault",
                f"the bucket retains everything by default ({rule}): leases and markers too "
                "cannot be deleted",
                "Take the default retention off the bucket; lock keys with place_retention_lock.",
            )
            return
        name = self._name
        self._store.put(name, [b"{}"])
        if self._store.may_read_locks(name):
            yield Finding("object lock", "ok", "on: keys can be retained and held")
        else:
            yield Finding(
                "object lock",
                "fault",
                "on, and these credentials may not read locks, so overwrites and deletes are refused",
                "Grant s3:GetObjectRetention and s3:GetObjectLegalHold.",
            )

    def trust(self) -> Iterator[Finding]:
        if self._settings.keyring is not None:
            yield Finding("keyring", "ok", "entries are encrypted, and verified when read")
        elif self._settings.allow_unsigned_pickle:
            yield Finding(
                "keyring",
                "fault",
                "pickles are loaded unverified: whoever can write to the bucket can run code here",
                "Make a keyring (`s3kv keys generate`) and drop allow_unsigned_pickle.",
            )
        else:
            yield Finding(
                "keyring",
                "degraded",
                "none: entries are readable in the bucket, and values that need pickle not stored",
                "Make one: `s3kv keys generate`.",
            )


def _can(check: str, kept: bool, otherwise: str) -> Finding:
    if kept:
        return Finding(check, "ok", "kept by the server")
    said = f"ignored or refused by the server on this bucket: {otherwise}"
    return Finding(check, "degraded", said, "Use a newer server, or live with it.")


def _expires(rule: dict[str, Any], prefix: str) -> bool:
    """Whether a lifecycle rule ends noncurrent versions of all objects below ``prefix``."""
    where = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
    return (
        rule.get("Status") == "Enabled"
        and "NoncurrentVersionExpiration" in rule
        and prefix.startswith(where)
        and set(rule.get("Filter", {})) <= {"Prefix"}
    )
