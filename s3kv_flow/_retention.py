"""Retention and legal hold of keys.

S3 protects *versions*: on a bucket with Object Lock an overwrite makes a new, unlocked version
and a delete hides the locked one, and both succeed
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html). What users lock is a
*key*, so whoever writes or deletes here looks first, and then expects to find what was looked at.
Whoever locks writes the object anew, with another body and so another ETag: a writer that looked
before then loses.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import groupby
from typing import Final, Protocol

from s3kv_flow._model import ABSENT, ANY, Lock, Mode, ObjectMeta, Precondition, Protection, Version
from s3kv_flow._parallel import in_parallel
from s3kv_flow._process import reset_after_fork
from s3kv_flow.errors import (
    AccessDeniedError,
    KeyLockedError,
    KeyNotFoundError,
    LockingUnavailableError,
)
from s3kv_flow.stores.protocols import Head, List, Locking

#: Retention can only be shortened, not taken away, on some servers: to this long from now.
SHORTENED_TO: Final = timedelta(seconds=2)


class Lockable(Head, List, Locking, Protocol):
    """The verbs that locks need."""


class _Locks(Enum):
    """Whether anything in the bucket can be locked."""

    UNKNOWN = "unknown"
    NONE = "none"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Guard:
    """What a write must expect to find, and the lock that it carries on."""

    expect: Precondition
    lock: Lock | None = None


#: A write that nothing can be in the way of.
UNGUARDED: Final = Guard(ANY)


class Retention:
    """What protects the keys of one bucket.

    Parameters
    ----------
    store : Lockable
        The bucket.
    """

    def __init__(self, store: Lockable) -> None:
        self._store = store
        self._locks = _Locks.UNKNOWN
        self._unlock()
        reset_after_fork(self._unlock)

    def _unlock(self) -> None:
        self._learning = threading.Lock()

    # Whether there are locks at all; learned once.

    def possible(self, name: str) -> bool:
        """Whether the bucket has Object Lock; ``name`` is an object in it.

        Raises
        ------
        AccessDeniedError
            It has, or may have, and these credentials may not read locks.
        """
        if self._locks is _Locks.UNKNOWN:
            self._learn(name)
        return self._locks is _Locks.KEPT

    def learn(self, name: str) -> None:
        """Find out from an object that was just written, so that the next write need not."""
        if self._locks is _Locks.UNKNOWN:
            with suppress(AccessDeniedError):  # whoever wants to overwrite something is told
                self.look(name)

    def _learn(self, name: str, meta: ObjectMeta | None = None) -> None:
        with self._learning:
            if self._locks is not _Locks.UNKNOWN:
                return
            if meta is not None and meta.version is None:
                # Only versions can be locked. ("null" is the version of what was written before
                # the bucket began to keep them, and to lock.)
                self._locks = _Locks.NONE
                return
            try:
                has_locks = self._store.object_lock()
            except AccessDeniedError:
                has_locks = True  # then the test below decides
            if not has_locks:
                self._locks = _Locks.NONE
            elif not self._store.may_read_locks(name):
                raise _blind(name)
            else:
                self._locks = _Locks.KEPT

    # Before a write

    def guard(self, name: str, key: str) -> Guard:
        """Say what a write to ``name`` must expect; ABSENT where nothing is.

        Raises
        ------
        KeyLockedError
            Retention holds.
        AccessDeniedError
            These credentials may not read locks.
        """
        found = None if self._locks is _Locks.NONE else self.look(name)
        if self._locks is _Locks.NONE:  # known before, or learned from this look
            return UNGUARDED
        if found is None:
            return Guard(ABSENT)
        lock = found.holding
        if lock.mode is not None:
            raise _retained(key, lock)
        held = Lock(legal_hold=True) if lock.legal_hold else None
        return Guard(found.meta.etag, held)

    def guard_delete(self, name: str, key: str) -> Guard:
        """Say what a delete of ``name`` must expect; as :meth:`guard`, but a hold refuses too.

        Raises
        ------
        KeyLockedError
            Retention or a legal hold holds.
        AccessDeniedError
            These credentials may not read locks.
        """
        guard = self.guard(name, key)
        if guard.lock is not None:
            raise KeyLockedError(
                "the key is under legal hold, and cannot be deleted",
                key=key,
                way_out="Release it with release_legal_hold.",
            )
        return guard

    def look(self, name: str) -> Protection | None:
        """Give an object and its lock; what cannot be locked has none."""
        if self._locks is not _Locks.KEPT:
            meta = self._store.head(name)
            if meta is None:
                return None
            if self._locks is _Locks.UNKNOWN:
                self._learn(name, meta)
            if self._locks is _Locks.NONE:
                return Protection(meta, Lock(), meta.modified)
        return self._store.protection(name)

    # Locking

    def locked(self, name: str, key: str) -> Protection:
        """Give an object and its lock.

        Raises
        ------
        KeyNotFoundError
            It is absent.
        KeyLockedError
            It is absent because another tool has hidden a locked version.
        LockingUnavailableError
            The bucket has no Object Lock.
        """
        found = self.look(name)
        if self._locks is _Locks.NONE or (found is None and not self._store.object_lock()):
            raise unavailable(key)
        if found is None:
            self.refuse_hidden(name, key)
            raise KeyNotFoundError("the key is not in the store", key=key)
        return found

    def extended(self, found: Protection, key: str, wanted: Lock) -> bool:
        """Make a retention that holds last longer; False where there is none.

        Raises
        ------
        KeyLockedError
            It lasts longer already, or is stricter.
        """
        lock = found.holding
        if lock.retain_until is None or wanted.retain_until is None:
            return False
        weaker = (lock.mode, wanted.mode) == ("COMPLIANCE", "GOVERNANCE")
        if weaker or wanted.retain_until < lock.retain_until:
            raise KeyLockedError(
                f"the key is under {lock.mode} retention until {lock.retain_until}, "
                "and a lock is only ever made stronger",
                key=key,
                way_out="Remove a GOVERNANCE retention first, with remove_retention_lock.",
            )
        # S3 takes a change of mode, even to the stricter one, for a bypass.
        bypass = lock.mode != wanted.mode
        self._store.retain(found.meta.name, wanted, version=found.meta.version, bypass=bypass)
        return True

    def release_retention(self, name: str, key: str) -> None:
        """End the GOVERNANCE retention of all versions of an object.

        Raises
        ------
        KeyLockedError
            The mode is COMPLIANCE, which nobody can end; or these credentials may not.
        """
        retained = [found for found in self._protections(name) if found.holding.mode is not None]
        for found in retained:  # all are looked at before one is changed
            lock = found.holding
            if lock.mode == "COMPLIANCE":
                raise KeyLockedError(
                    f"the key is under COMPLIANCE retention until {lock.retain_until}, "
                    "which nobody can end",
                    key=key,
                    way_out="Wait until then.",
                )
        # The newest last: until then the key is retained.
        ends = [self._shorten(found, key) for found in reversed(retained)]
        if ends:
            self._wait_until(name, max(ends))

    def _shorten(self, found: Protection, key: str) -> datetime:
        # An empty retention takes it away on AWS, and is refused by other servers: a short one
        # works on all.
        end = found.now + SHORTENED_TO
        lock = Lock("GOVERNANCE", end)
        if found.lock.retain_until is not None and found.lock.retain_until <= end:
            return found.lock.retain_until
        try:
            self._store.retain(found.meta.name, lock, version=found.meta.version, bypass=True)
        except AccessDeniedError as error:
            raise KeyLockedError(
                "these credentials may not end a retention",
                key=key,
                way_out="Grant s3:BypassGovernanceRetention and s3:PutObjectRetention.",
            ) from error
        return end

    def _wait_until(self, name: str, end: datetime) -> None:
        while (found := self._store.protection(name)) is not None and found.now <= end:
            time.sleep(min(1.0, (end - found.now).total_seconds() + 0.1))

    def _protections(self, name: str) -> Iterator[Protection]:
        for version in self._store.versions(name):
            if version.name == name and not version.is_delete_marker:
                found = self._store.protection(name, version=version.version)
                if found is not None:
                    yield found

    def set_hold(self, found: Protection) -> None:
        """Hold the version that is the object now."""
        self._store.hold(found.meta.name, True, version=found.meta.version)

    def release_hold(self, name: str) -> None:
        """Release the hold of all versions of an object: it travelled from each to the next."""
        held = [found for found in self._protections(name) if found.lock.legal_hold]
        for found in reversed(held):  # the newest last: until then the key is held
            self._store.hold(name, False, version=found.meta.version)

    # What other tools did

    def shadowed(self, prefix: str) -> Iterator[Protection]:
        """Give the newest locked version of each object that something unlocked now hides.

        Only a tool that does not look at locks makes such a version or delete marker.
        """
        seen = set()
        for name, group in groupby(self._store.versions(prefix), lambda version: version.name):
            seen.add(name)
            if (found := self._hidden(name, list(group))) is not None:
                yield found
        # SeaweedFS forgets objects beside folders where its listing of versions goes over a page.
        for meta in self._store.list(prefix):
            if meta.name not in seen and (found := self.hidden(meta.name)) is not None:
                yield found

    def hidden(self, name: str) -> Protection | None:
        """Give the newest locked version of an object, if something unlocked now hides it."""
        versions = [version for version in self._store.versions(name) if version.name == name]
        return self._hidden(name, versions)

    def refuse_hidden(self, name: str, key: str) -> None:
        """Raise where another tool has hidden a locked version of an object.

        Raises
        ------
        KeyLockedError
            A lock on what hides it, or its removal, would keep it hidden.
        """
        if self.hidden(name) is not None:
            raise KeyLockedError(
                "another tool has hidden a locked version of the key",
                key=key,
                way_out="Bring it back with restore_locked (`s3kv lock restore`) first.",
            )

    def _hidden(self, name: str, versions: list[Version]) -> Protection | None:
        if len(versions) < 2:
            return None
        latest = None
        if not versions[0].is_delete_marker:
            latest = self._store.protection(name, version=versions[0].version)
        shown = Lock() if latest is None else latest.holding
        if shown.mode and shown.legal_hold:
            return None
        older = (version.version for version in versions[1:] if not version.is_delete_marker)
        for found in in_parallel(
            lambda version: self._store.protection(name, version=version), older
        ):
            if found is None:
                continue
            lock = found.holding
            if (lock.mode and not shown.mode) or (lock.legal_hold and not shown.legal_hold):
                return found
        return None


def unavailable(key: str) -> LockingUnavailableError:
    """Give the error for a bucket that keeps no locks."""
    return LockingUnavailableError(
        "the bucket was made without Object Lock, so nothing in it can be locked",
        key=key,
        way_out="Make a bucket with Object Lock enabled (create_bucket("
        "ObjectLockEnabledForBucket=True), or `s3kv local start`), or enable it on this one.",
    )


def until(found: Protection, days: float, mode: Mode) -> Lock:
    """Give the lock that retains an object for so many days of the server's time."""
    # The header has whole seconds on some servers; never promise less than was asked for.
    end = (found.now + timedelta(days=days)).replace(microsecond=0) + timedelta(seconds=1)
    return replace(found.holding, mode=mode, retain_until=end)


def _retained(key: str, lock: Lock) -> KeyLockedError:
    way_out = "Wait until then."
    if lock.mode == "GOVERNANCE":
        way_out = "Wait until then, or remove it with remove_retention_lock."
    return KeyLockedError(
        f"the key is under {lock.mode} retention until {lock.retain_until}, "
        "and cannot be overwritten or deleted",
        key=key,
        way_out=way_out,
    )


def _blind(name: str) -> AccessDeniedError:
    return AccessDeniedError(
        "these credentials may not read locks, and without that a write could hide a locked version",
        key=name,
        way_out="Grant s3:GetObjectRetention and s3:GetObjectLegalHold "
        "(`s3kv policy --role writer` has them).",
    )
