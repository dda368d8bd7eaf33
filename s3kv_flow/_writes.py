"""Every write to a bucket: its tags are announced, its locks respected, and it knows if it won.

`_kv` and `_cache` write through here and nowhere else, so that what they promise of tags and
locks is kept in one place.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import chain, islice
from typing import Final

from s3kv_flow._clock import Clock
from s3kv_flow._layout import Layout
from s3kv_flow._model import (
    ABSENT,
    ANY,
    Body,
    Deleted,
    ETag,
    Lock,
    Mode,
    Precondition,
    Protection,
    StoredObject,
)
from s3kv_flow._pack import Pack
from s3kv_flow._parallel import in_parallel
from s3kv_flow._retention import UNGUARDED, Retention, unavailable, until
from s3kv_flow._tagindex import TagIndex
from s3kv_flow._tags import check_tags
from s3kv_flow.envelope.header import is_entry
from s3kv_flow.errors import AccessDeniedError, ConflictError, KeyLockedError, KeyNotFoundError
from s3kv_flow.stores.cas import WRITE_ID, cas_put
from s3kv_flow.stores.probe import Capabilities
from s3kv_flow.stores.protocols import Bucket, PreconditionFailedError

logger = logging.getLogger("s3kv_flow")

#: How long writers of one key may keep coming before each other.
CONTENTION_SECONDS: Final = 60
ATTEMPTS: Final = 200
#: How many names one request deletes: S3 takes 1,000, and smaller ones go side by side.
DELETE_BATCH: Final = 250
#: User metadata: how many blanks at a document's end are there only to make its bytes new.
PADDING: Final = "s3kv-padding"
_BLANKS: Final = " \t\n\r"
_PADDING_BYTES: Final = 48


class Writes:
    """The writes to one bucket.

    Parameters
    ----------
    store : Bucket
        The bucket.
    layout : Layout
        Its names.
    pack : Pack
        Makes entries anew when they are locked.
    capabilities : callable
        Gives what the server can do; asked when it matters.
    clock : Clock
        Ends what takes too long.
    """

    def __init__(
        self,
        store: Bucket,
        layout: Layout,
        pack: Pack,
        capabilities: Callable[[], Capabilities],
        clock: Clock,
    ) -> None:
        self.index = TagIndex(store, layout, clock)
        self.retention = Retention(store)
        self._store = store
        self._layout = layout
        self._pack = pack
        self._capabilities = capabilities
        self._clock = clock
        self._unfenced = False

    # One object

    def put(
        self,
        key: str,
        name: str,
        body: Body,
        *,
        expect: Precondition = ANY,
        tags: Mapping[str, str] | None = None,
        lock: Lock | None = None,
    ) -> ETag | None:
        """Write an object if ``expect`` holds and no lock forbids it; None if another came first.

        With ``lock`` it is locked as it is written.

        Raises
        ------
        KeyLockedError
            Retention holds.
        ConflictError
            With `ANY`, other writers came first for too long.
        """
        if expect is ABSENT:
            # What is absent is not locked.
            return self._swap(name, body, ABSENT, tags=tags, lock=lock)
        for _ in self._attempts(key):
            guard = self.retention.guard(name, key)
            if guard is UNGUARDED:
                return self._swap(name, body, expect, tags=tags, lock=lock)
            if expect not in (ANY, guard.expect):
                return None
            try:
                held = guard.lock if lock is None else (guard.lock or Lock()) | lock
                etag = self._swap(name, body, guard.expect, tags=tags, lock=held)
            except AccessDeniedError as error:
                if guard.lock is None:
                    raise
                raise AccessDeniedError(
                    "the key is under legal hold, and these credentials may not hold what they "
                    "would write; nothing was written",
                    key=key,
                    way_out="Grant s3:PutObjectLegalHold (`s3kv policy --role maintainer` has it).",
                ) from error
            if etag is not None:
                self.retention.learn(name)
            if etag is not None or expect is not ANY:
                return etag
        raise AssertionError("unreachable")

    def _swap(
        self,
        name: str,
        body: Body,
        expect: Precondition,
        *,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        lock: Lock | None = None,
    ) -> ETag | None:
        """Compare and swap, markers first; where the server cannot, look and then write."""

        def attempt(expect: Precondition) -> ETag | None:
            self.index.announce(name, tags or {})
            return cas_put(
                self._store, name, body, expect=expect, tags=tags, metadata=metadata, lock=lock
            )

        etag = None if self._unfenced and isinstance(expect, str) else attempt(expect)
        if etag is None and isinstance(expect, str) and not self._capabilities().compare_and_swap:
            self._warn_unfenced()
            found = self._store.head(name)
            if found is not None and found.etag == expect:
                etag = attempt(ANY)
        return etag

    def _warn_unfenced(self) -> None:
        if not self._unfenced:
            self._unfenced = True
            logger.warning(
                "the server cannot compare and swap on this bucket: it is looked at before each "
                "write, but of two writes within milliseconds the later one wins, locks and "
                "merges included (see `s3kv doctor`)"
            )

    def _attempts(self, key: str) -> Iterator[None]:
        """Give turns, with growing pauses between them, until it took too long."""
        deadline = self._clock.monotonic() + CONTENTION_SECONDS
        for attempt in range(ATTEMPTS):
            yield
            if self._clock.monotonic() > deadline:
                break
            longest = min(0.5, 0.005 * 2 ** min(attempt, 10))
            time.sleep(random.random() * longest)  # noqa: S311 - spreads writers, guards nothing
        raise ConflictError(
            "other writers came first again and again",
            key=key,
            way_out="Try again later, or let fewer processes write one key.",
        )

    def update(
        self, key: str, name: str, change: Callable[[StoredObject | None], Body]
    ) -> tuple[ETag, Body]:
        """Read, change and write an object as one step; it keeps its tags.

        Raises
        ------
        KeyLockedError
            Retention holds.
        ConflictError
            Other writers came first for too long.
        """
        for _ in self._attempts(key):
            found = self._store.get(name)
            assert found is None or isinstance(found, StoredObject)
            body = change(found)
            tagged = None if found is None else self._store.tags(name, version=found.meta.version)
            expect = ABSENT if found is None else found.meta.etag
            tags = None if tagged is None else tagged.tags
            etag = self.put(key, name, body, expect=expect, tags=tags)
            if etag is not None:
                return etag, body
        raise AssertionError("unreachable")

    def delete(self, key: str, name: str, *, expect: Precondition = ANY) -> bool:
        """Delete an object if it is what is expected; its markers stay, for the collector.

        Raises
        ------
        KeyLockedError
            Retention or a legal hold holds.
        """
        for _ in self._attempts(key):
            guard = self.retention.guard_delete(name, key)
            if guard is UNGUARDED:
                self._store.delete([name])
                return True
            if not isinstance(guard.expect, str):
                return True  # it is absent
            if expect not in (ANY, guard.expect):
                return False
            try:
                self._store.delete_if(name, guard.expect)
            except PreconditionFailedError:
                continue
            return True
        raise AssertionError("unreachable")

    def delete_many(self, objects: Iterable[tuple[str, Precondition]]) -> Iterator[Deleted]:
        """Delete objects in batches, in parallel, each if it is what is expected.

        Locked ones are kept, and named by their keys.
        """
        rest = iter(objects)
        first = next(rest, None)
        if first is None:
            return
        rest = chain([first], rest)
        if self.retention.possible(first[0]):
            yield from in_parallel(self._delete_unless_locked, rest)
        else:
            batches = iter(lambda: list(islice(rest, DELETE_BATCH)), [])
            yield from in_parallel(self._delete_batch, batches)

    def _delete_batch(self, batch: list[tuple[str, Precondition]]) -> Deleted:
        expected = [(name, etag) for name, etag in batch if isinstance(etag, str)]
        plain = [name for name, etag in batch if not isinstance(etag, str)]
        kept = self._store.delete_each_if(expected) if expected else ()
        if plain:
            self._store.delete(plain)
        return Deleted(len(batch) - len(kept))

    def _delete_unless_locked(self, one: tuple[str, Precondition]) -> Deleted:
        name, expect = one
        key = self._layout.key(name) or name
        try:
            return Deleted(int(self.delete(key, name, expect=expect)))
        except KeyLockedError:
            return Deleted(0, (key,))

    # Tags

    def tag(self, key: str, name: str, tags: Mapping[str, str], *, replace: bool = False) -> None:
        """Add to an object's tags, or replace them.

        S3 cannot compare and swap tags: of two writers at once, the later one wins.

        Raises
        ------
        KeyNotFoundError
            It is absent.
        InvalidTagError
            They would be too many.
        """
        found = self._store.tags(name)
        if found is None:
            raise KeyNotFoundError("the key is not in the store", key=key)
        wanted = dict(tags) if replace else check_tags({**found.tags, **tags}, key=key)
        # All of them are marked, not the new ones alone: a collector may be about to remove the
        # marker of a tag that an overwrite has just dropped, and that this brings back.
        self.index.announce(name, wanted)
        # The version that was read, so that no tag of an older value falls on a newer one.
        if not self._store.tag(name, wanted, version=found.version):
            raise KeyNotFoundError("the key is not in the store", key=key)

    # Locks

    def lock_for(
        self, name: str, key: str, retention_days: float | None, legal_hold: bool
    ) -> Lock | None:
        """Give the lock that an object is to be written with, by the server's time.

        Raises
        ------
        LockingUnavailableError
            The bucket has no Object Lock.
        """
        if retention_days is None and not legal_hold:
            return None
        if not self.retention.possible(name):
            raise unavailable(key)
        if retention_days is None:
            return Lock(legal_hold=legal_hold)
        end = self._store.server_time() + timedelta(days=retention_days, seconds=1)
        return Lock("GOVERNANCE", end.replace(microsecond=0), legal_hold)

    def retain(self, key: str, name: str, days: float, mode: Mode) -> None:
        """Retain an object for so many days.

        Raises
        ------
        KeyNotFoundError, LockingUnavailableError
            There is nothing to lock, or nothing can be.
        KeyLockedError
            A retention that lasts longer or is stricter holds.
        """

        def place(found: Protection) -> bool:
            wanted = until(found, days, mode)
            return self.retention.extended(found, key, wanted) or self._rewrite(key, found, wanted)

        self._lock(key, name, place)

    def hold(self, key: str, name: str) -> None:
        """Put an object under legal hold.

        Raises
        ------
        KeyNotFoundError, LockingUnavailableError
            There is nothing to lock, or nothing can be.
        """

        def place(found: Protection) -> bool:
            if found.lock.legal_hold:
                return True
            if found.holding.mode is not None:  # nobody writes it anyway
                self.retention.set_hold(found)
                return True
            return self._rewrite(key, found, Lock(legal_hold=True))

        self._lock(key, name, place)

    def _lock(self, key: str, name: str, place: Callable[[Protection], bool]) -> None:
        found = self.retention.locked(name, key)
        self.retention.refuse_hidden(name, key)
        for _ in self._attempts(key):
            if place(found):
                return
            found = self.retention.locked(name, key)

    def _rewrite(self, key: str, found: Protection, lock: Lock) -> bool:
        """Write an object anew, locked; False if it is another one by now."""
        name, version = found.meta.name, found.meta.version
        stored = self._store.get(name)
        if not isinstance(stored, StoredObject) or stored.meta.etag != found.meta.etag:
            return False
        tagged = self._store.tags(name, version=version)
        tags = {} if tagged is None else tagged.tags
        body, metadata = self._renewed(key, found.meta.metadata, stored)
        etag = self._swap(name, body, found.meta.etag, tags=tags, metadata=metadata, lock=lock)
        if etag is None:
            return False
        later = self._store.tags(name, version=version)
        if later is not None and later.tags != tags:  # somebody tagged the version before this one
            self.tag(key, name, later.tags, replace=True)
        return True

    def _renewed(
        self, key: str, metadata: Mapping[str, str], stored: StoredObject
    ) -> tuple[Body, dict[str, str]]:
        """Give the same value in other bytes, for the same bytes have the same ETag."""
        kept = {name: value for name, value in metadata.items() if name not in (WRITE_ID, PADDING)}
        if is_entry(stored.body):
            return self._pack.renewed(key, stored.body), kept
        text = stored.body[: stored.body.nbytes - padding(metadata)]
        blanks = "".join(secrets.choice(_BLANKS) for _ in range(_PADDING_BYTES)).encode()
        return [text, blanks], {**kept, PADDING: str(_PADDING_BYTES)}

    def restore(self, key: str, hidden: Protection) -> bool:
        """Bring a locked version back that something unlocked hides; False if it is gone."""
        name, version = hidden.meta.name, hidden.meta.version
        stored = None if version is None else self._store.get_version(name, version)
        if stored is None:
            return False
        tagged = self._store.tags(name, version=version)
        tags = {} if tagged is None else tagged.tags
        body, metadata = self._renewed(key, hidden.meta.metadata, stored)
        for _ in self._attempts(key):
            shown = self._store.protection(name)
            expect: Precondition = ABSENT if shown is None else shown.meta.etag
            # What hides it may be locked in another way, and must not be hidden in its turn.
            lock = hidden.holding | (Lock() if shown is None else shown.holding)
            if self._swap(name, body, expect, tags=tags, metadata=metadata, lock=lock) is not None:
                return True
        raise AssertionError("unreachable")


def padding(metadata: Mapping[str, str]) -> int:
    """Give how many bytes at a document's end do not belong to its value."""
    try:
        return max(0, min(_PADDING_BYTES, int(metadata.get(PADDING, "0"))))
    except ValueError:
        return 0
