"""Retention and legal holds of keys."""

from __future__ import annotations

from typing import Final

from s3kv_flow._backend import Backend
from s3kv_flow._kv.keys import not_found
from s3kv_flow._model import Lock, Mode
from s3kv_flow.errors import ConfigurationError

#: S3's own limit on retention, 100 years
#: (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html).
MAX_DAYS: Final = 36_500
_MODES: Final = ("GOVERNANCE", "COMPLIANCE")


class LockedKeys:
    """Locks of keys and of memoized results, on a bucket with Object Lock."""

    _backend: Backend

    def place_retention_lock(self, key: str, days: float, mode: Mode = "GOVERNANCE") -> None:
        """Let nobody change or delete a key for so many days, counted by the server's clock.

        While it holds, ``add``, ``merge_keys``, ``copy_key`` onto it and ``delete`` raise
        `KeyLockedError` and change nothing. A second lock may only make it last longer.

        Parameters
        ----------
        key : str
            A key, or that of a memoized result.
        days : float
            From now; at most 100 years.
        mode : {"GOVERNANCE", "COMPLIANCE"}
            GOVERNANCE can be removed by whoever has the right to; COMPLIANCE by nobody.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        LockingUnavailableError
            The bucket has no Object Lock.
        KeyLockedError
            A retention that lasts longer or is stricter holds.
        ConfigurationError
            The days or the mode have no meaning.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store(object_lock=True)
        >>> kv["report"] = 1
        >>> kv.place_retention_lock("report", 30)
        >>> kv.get_lock("report").mode
        'GOVERNANCE'
        >>> kv["report"] = 2  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        s3kv_flow.errors.KeyLockedError: the key is under GOVERNANCE retention until ...
        """
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 < days <= MAX_DAYS:
            raise ConfigurationError(
                f"days={days!r} has no meaning", way_out=f"Give a number up to {MAX_DAYS}."
            )
        if mode not in _MODES:
            raise ConfigurationError(
                f"mode={mode!r} has no meaning", way_out=f"Known are {', '.join(_MODES)}."
            )
        name = self._backend.layout.object(key)
        self._backend.writes.retain(key, name, days, mode)
        self._backend.chain.drop(name)

    def remove_retention_lock(self, key: str) -> None:
        """End a GOVERNANCE retention now, on all versions of the key; takes a few seconds.

        Servers shorten a retention and do not take it away, so this sets it to end in two seconds
        and waits until it has.

        Raises
        ------
        KeyNotFoundError, LockingUnavailableError
            There is no such key, or nothing can be locked in this bucket.
        KeyLockedError
            It is a COMPLIANCE retention, or these credentials may not end it.
        """
        name = self._backend.layout.object(key)
        retention = self._backend.writes.retention
        retention.locked(name, key)
        retention.refuse_hidden(name, key)  # it would be lost with its lock
        retention.release_retention(name, key)

    def apply_legal_hold(self, key: str) -> None:
        """Let nobody delete a key until the hold is released; it may be changed, and stays held.

        Raises
        ------
        KeyNotFoundError, LockingUnavailableError
            There is no such key, or nothing can be locked in this bucket.
        """
        name = self._backend.layout.object(key)
        self._backend.writes.hold(key, name)
        self._backend.chain.drop(name)

    def release_legal_hold(self, key: str) -> None:
        """Release a key's hold, on all its versions.

        Raises
        ------
        KeyNotFoundError, LockingUnavailableError
            There is no such key, or nothing can be locked in this bucket.
        """
        name = self._backend.layout.object(key)
        retention = self._backend.writes.retention
        retention.locked(name, key)
        retention.release_hold(name)

    def is_legal_hold_applied(self, key: str) -> bool:
        """Whether a key is held; False too where nothing can be.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        """
        return self.get_lock(key).legal_hold

    def get_lock(self, key: str) -> Lock:
        """Give the retention and the hold that protect a key now; false where nothing does.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        AccessDeniedError
            These credentials may not read locks.
        """
        found = self._backend.retention.look(self._backend.layout.object(key))
        if found is None:
            raise not_found(key)
        return found.holding

    def verify_locks(self, prefix: str = "") -> dict[str, Lock]:
        """Give the keys whose locked version another tool has hidden, with that version's lock.

        S3 lets any writer put an unlocked version or a delete marker before a locked one. This
        library does not; :meth:`restore_locked` brings the locked one back.
        """
        backend = self._backend
        found = backend.retention.shadowed(backend.layout.documents(prefix))
        named = ((backend.layout.key(hidden.meta.name), hidden.holding) for hidden in found)
        return {key: lock for key, lock in named if key is not None}

    def restore_locked(self, key: str) -> bool:
        """Bring back the locked version of a key that another tool has hidden; False if none is.

        The value and the tags come back, in a new version with the same lock.
        """
        backend = self._backend
        name = backend.layout.object(key)
        hidden = backend.writes.retention.hidden(name)
        if hidden is None:
            return False
        restored = backend.writes.restore(key, hidden)
        backend.chain.drop(name)
        return restored
