"""The first tier: a bounded dict of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from s3kv_flow._model import Blob, Cleared
from s3kv_flow._process import reset_after_fork

DEFAULT_LIMIT_BYTES: Final = 64 * 1024 * 1024
#: A larger blob is better mapped from disk than copied from here.
LARGEST_BLOB_BYTES: Final = 1024 * 1024


class MemoryTier:
    """Small blobs, bounded by their bytes; the one stored first goes first.

    Reading takes no lock and writes nothing, so a hit costs a dict look-up.
    """

    name = "memory"
    shares = True

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._blobs: dict[str, tuple[Blob, int, float]] = {}
        self._size_bytes = 0
        self._unlock()
        reset_after_fork(self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def get(self, name: str) -> Blob | None:
        held = self._blobs.get(name)
        return None if held is None else held[0]

    def put(self, name: str, blob: Blob) -> None:
        size = blob.size_bytes
        if size > min(LARGEST_BLOB_BYTES, self._limit_bytes):
            return
        if blob.opened is not None:
            blob.opened.shared = True
        with self._lock:
            self._drop(name)
            self._blobs[name] = blob, size, blob.checked
            self._size_bytes += size
            while self._size_bytes > self._limit_bytes:
                self._drop(next(iter(self._blobs)))

    def confirm(self, name: str, blob: Blob) -> None:
        held = self._blobs.get(name)
        if held is not None:
            held[0].checked = blob.checked

    def drop(self, name: str) -> None:
        with self._lock:
            self._drop(name)

    def _drop(self, name: str) -> int:
        held = self._blobs.pop(name, None)
        if held is None:
            return 0
        self._size_bytes -= held[1]
        return held[1]

    def names(self, prefix: str = "") -> Iterator[str]:
        return iter([name for name in tuple(self._blobs) if name.startswith(prefix)])

    def clear(self, prefix: str = "", *, stored_before: float | None = None) -> Cleared:
        cleared = Cleared(0, 0)
        with self._lock:
            for name, (_, _, stored) in tuple(self._blobs.items()):
                if name.startswith(prefix) and (stored_before is None or stored < stored_before):
                    cleared += Cleared(1, self._drop(name))
        return cleared

    def close(self) -> None:
        self.clear()
