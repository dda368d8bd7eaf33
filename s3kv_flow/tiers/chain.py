"""Memory, then disk, then S3: the first that has it wins, and fills those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from s3kv_flow._clock import Clock
from s3kv_flow._model import NOT_MODIFIED, Blob, Cleared, ETag, ObjectMeta, Opened
from s3kv_flow.errors import AccessDeniedError, SealError, StoreUnavailableError
from s3kv_flow.stores.protocols import Get
from s3kv_flow.tiers.base import Tier

REMOTE: Final = "remote"

#: Opens a blob that a local tier held of a key, or raises `SealError`.
Verify = Callable[[str, Blob], Opened]


@dataclass(slots=True)
class Found:
    """A verified blob and the tier that had it."""

    blob: Blob
    tier: str
    revived: Exception | None = None
    """S3 could not be asked whether it still holds; served all the same."""


class UnreadableError(Exception):
    """The object is there and could not be opened; ``etag`` says which version of it."""

    def __init__(self, cause: SealError, etag: ETag) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.etag = etag


class Chain:
    """The tiers of one store.

    Parameters
    ----------
    local : sequence of Tier
        Fastest first.
    remote : Get, optional
        The object store; None where the local tiers are all there is.
    clock : Clock
        Says whether a local copy was confirmed recently enough.
    """

    def __init__(self, local: Sequence[Tier], remote: Get | None, clock: Clock) -> None:
        self.local = tuple(local)
        self._remote = remote
        self._clock = clock

    def look(
        self, name: str, key: str, verify: Verify, *, unchecked_seconds: float
    ) -> Found | None:
        """Look into the local tiers only; ``verify`` opens a blob or raises `SealError`."""
        found = self._held(name, key, verify)
        if found is None or self._remote is None:
            return found
        return found if self._current(found.blob, unchecked_seconds) else None

    def get(
        self,
        name: str,
        key: str,
        verify: Verify,
        admit: Callable[[ObjectMeta, memoryview], Blob],
        *,
        unchecked_seconds: float,
    ) -> Found | None:
        """Look everywhere.

        Parameters
        ----------
        name : str
            The object's name.
        key : str
            What it is the object of, for ``verify``.
        verify : callable
            Opens a local blob of the key, or raises `SealError`: then it is dropped, and S3 asked.
        admit : callable
            Verifies an object from S3 and gives the blob that the local tiers shall hold.
        unchecked_seconds : float
            How long a local copy serves without asking S3 whether it still holds.

        Raises
        ------
        UnreadableError
            S3 has it, and it could not be opened.
        StoreUnavailableError, AccessDeniedError
            S3 has to be asked and cannot be.
        """
        found = self._held(name, key, verify)
        if self._remote is None or (
            found is not None and self._current(found.blob, unchecked_seconds)
        ):
            return found
        held = None if found is None else found.blob
        try:
            answer = self._remote.get(name, unless=None if held is None else held.etag)
        except (StoreUnavailableError, AccessDeniedError) as error:
            if found is None or unchecked_seconds <= 0:
                raise
            return Found(found.blob, found.tier, revived=error)
        if answer is NOT_MODIFIED and found is not None:
            found.blob.checked = self._clock.now()
            for tier in self.local:
                tier.confirm(name, found.blob)
            return found
        if answer is None or answer is NOT_MODIFIED:
            self.drop(name)
            return None
        try:
            blob = admit(answer.meta, answer.body)
        except SealError as error:
            raise UnreadableError(error, answer.meta.etag) from error
        self.fill(name, blob)
        return Found(blob, REMOTE)

    def _held(self, name: str, key: str, verify: Verify) -> Found | None:
        for depth, tier in enumerate(self.local):
            blob = tier.get(name)
            if blob is None:
                continue
            if blob.opened is None:
                try:
                    opened = blob.opened = verify(key, blob)
                except SealError:
                    tier.drop(name)  # torn or altered; the next tier may have it whole
                    continue
                opened.shared = tier.shares
            if depth:
                for faster in self.local[:depth]:
                    faster.put(name, blob)
            return Found(blob, tier.name)
        return None

    def _current(self, blob: Blob, unchecked_seconds: float) -> bool:
        return self._remote is None or self._clock.now() - blob.checked < unchecked_seconds

    def fill(self, name: str, blob: Blob) -> None:
        """Hold a blob in every local tier."""
        for tier in self.local:
            tier.put(name, blob)

    def drop(self, name: str) -> None:
        """Forget a name in every local tier."""
        for tier in self.local:
            tier.drop(name)

    def clear(self, prefix: str = "", *, stored_before: float | None = None) -> Cleared:
        """Clear the local tiers; counts what is on disk, or in memory where there is no disk."""
        counts = [tier.clear(prefix, stored_before=stored_before) for tier in self.local]
        return counts[-1] if counts else Cleared(0, 0)

    def clear_one(self, name: str) -> Cleared:
        """Forget one name in every local tier, and tell how much that was."""
        held = [blob for tier in self.local if (blob := tier.get(name)) is not None]
        self.drop(name)
        return Cleared(1, held[-1].size_bytes) if held else Cleared(0, 0)

    def close(self) -> None:
        """Close every local tier."""
        for tier in self.local:
            tier.close()
