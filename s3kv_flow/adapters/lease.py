"""`WorkLease`: a lock among all workers, for orchestrators that keep locks themselves."""

from __future__ import annotations

import threading

from s3kv_flow._kv import S3KV
from s3kv_flow._lease import NO_LEASES, Leases
from s3kv_flow.adapters.stores import backend_of


class WorkLease:
    """The right to work on a key, among the processes of this machine and all workers on the bucket.

    A holder that dies loses it after the store's ``lease_seconds``. It is none of those that cached
    calls take, so that a cached function may be called by whoever holds it.

    Parameters
    ----------
    key : str
        Any text.
    store : S3KV, optional
        The store; the default store if it is not given.

    Examples
    --------
    >>> from s3kv_flow.testing import memory_store
    >>> store = memory_store()
    >>> ours, theirs = WorkLease("job", store), WorkLease("job", store)
    >>> ours.acquire(), theirs.acquire()
    (True, False)
    >>> theirs.is_held()
    True
    >>> ours.release()
    >>> theirs.is_held()
    False
    """

    def __init__(self, key: str, store: S3KV | None = None) -> None:
        self.key = key
        self._backend = backend_of(store)
        self._leases: Leases = NO_LEASES
        self._wanted: Leases | None = None
        self._lock = threading.Lock()

    def _name(self) -> str:
        return f"lock/{self.key}"

    def acquire(self) -> bool:
        """Try to get it, without waiting; True where it is held already.

        Raises
        ------
        S3KVError
            The store cannot be asked.
        """
        with self._lock:
            if self._leases is not NO_LEASES:
                return True
            if self._wanted is None:
                self._wanted = self._backend().leases(self._name(), "cluster")
            try:
                if not self._wanted.acquire(_raise):
                    return False
            except BaseException:
                self._wanted.release()
                self._wanted = None
                raise
            self._leases, self._wanted = self._wanted, None
            return True

    def release(self) -> None:
        """Give it back, or give up waiting for it; never raises."""
        with self._lock:
            leases, self._leases = self._leases, NO_LEASES
            wanted, self._wanted = self._wanted, None
        for held in (leases, wanted):
            if held is not None:
                held.release()

    def is_held(self) -> bool:
        """Whether somebody holds it, on this machine or another."""
        with self._lock:
            if self._leases is not NO_LEASES:
                return True
        return self._backend().lease_is_held(self._name())


def _raise(error: Exception) -> None:
    raise error
