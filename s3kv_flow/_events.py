"""Counters: what the cache did for one function, and what it saved."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from s3kv_flow._process import reset_after_fork


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """A function's counters in this process, as ``f.cache_info()`` gives them.

    Attributes
    ----------
    hits : Mapping[str, int]
        Hits by tier: ``memory``, ``disk``, ``remote``.
    misses : Mapping[str, int]
        Misses by reason, such as ``absent`` or ``expired``.
    errors : Mapping[str, int]
        Failures of the cache that the caller never saw, by the error's code.
    bytes_read, bytes_written : int
        Bytes of entries, as stored.
    seconds_saved : float
        What the hits would have taken to compute.

    Examples
    --------
    >>> CacheInfo(hits={"disk": 3}, misses={"absent": 1})
    CacheInfo(hits={'disk': 3}, misses={'absent': 1}, errors={}, bytes_read=0, bytes_written=0, seconds_saved=0.0)
    """

    hits: Mapping[str, int]
    misses: Mapping[str, int]
    errors: Mapping[str, int] = ()  # type: ignore[assignment]
    bytes_read: int = 0
    bytes_written: int = 0
    seconds_saved: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors", dict(self.errors))

    @property
    def hit_count(self) -> int:
        """All hits, of any tier."""
        return sum(self.hits.values())

    @property
    def miss_count(self) -> int:
        """All misses, for any reason."""
        return sum(self.misses.values())


class Counters:
    """What one cached function counts; safe under threads and forks."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._hits: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._bytes_read = 0
        self._bytes_written = 0
        self._seconds_saved = 0.0

    def hit(self, tier: str, *, size_bytes: int, seconds_saved: float) -> None:
        with self._lock:
            self._hits[tier] += 1
            self._bytes_read += size_bytes
            self._seconds_saved += seconds_saved

    def miss(self, reason: str) -> None:
        with self._lock:
            self._misses[reason] += 1

    def stored(self, size_bytes: int) -> None:
        with self._lock:
            self._bytes_written += size_bytes

    def error(self, code: str) -> None:
        with self._lock:
            self._errors[code] += 1

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(
                hits=dict(self._hits),
                misses=dict(self._misses),
                errors=dict(self._errors),
                bytes_read=self._bytes_read,
                bytes_written=self._bytes_written,
                seconds_saved=self._seconds_saved,
            )
