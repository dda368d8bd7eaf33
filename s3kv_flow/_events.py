"""What the cache does: counted for each function, and told to whoever wants to know."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from s3kv_flow._process import reset_after_fork

logger = logging.getLogger("s3kv_flow")


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


@dataclass(frozen=True, slots=True)
class Event:
    """Something a cached function's cache did, as :func:`on_event` tells it.

    Attributes
    ----------
    kind : {"hit", "miss", "store", "wait", "error"}
        What happened. "wait": another process or worker was computing.
    name : str
        The cache's name.
    detail : str
        The tier of a hit, the reason of a miss, the code of an error.
    size_bytes : int
        Bytes read or written.
    seconds : float
        What a hit saved, what a computation that is stored took, how long was waited.

    Examples
    --------
    >>> Event("miss", "pipeline.load", "expired")
    Event(kind='miss', name='pipeline.load', detail='expired', size_bytes=0, seconds=0.0)
    """

    kind: Literal["hit", "miss", "store", "wait", "error"]
    name: str
    detail: str = ""
    size_bytes: int = 0
    seconds: float = 0.0


_hooks: list[Callable[[Event], object]] = []


def on_event(hook: Callable[[Event], object]) -> Callable[[], None]:
    """Have a function called with each event of all caches of this process.

    It is called in the thread of the call, so it should be quick; what it raises is logged.

    Parameters
    ----------
    hook : callable
        Takes an `Event`.

    Returns
    -------
    callable
        Ends it.

    Examples
    --------
    >>> import s3kv_flow as s3kv
    >>> from s3kv_flow.testing import memory_store
    >>> seen = []
    >>> stop = s3kv.on_event(lambda event: seen.append(event.kind))
    >>> memory_store().cached(lambda: 1, name="one")()
    1
    >>> stop()
    >>> seen
    ['miss', 'store']
    """
    _hooks.append(hook)

    def stop() -> None:
        if hook in _hooks:
            _hooks.remove(hook)

    return stop


def _tell(event: Event) -> None:
    for hook in tuple(_hooks):
        try:
            hook(event)
        except Exception:  # somebody's dashboard must not break somebody's pipeline
            logger.exception("a hook of on_event raised")


class Counters:
    """What one cached function counts, and tells; safe under threads and forks.

    Parameters
    ----------
    name : str
        The cache's name, in events.
    """

    def __init__(self, name: str) -> None:
        self._name = name
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

    def hit(self, tier: str, size_bytes: int, seconds_saved: float) -> None:
        with self._lock:
            self._hits[tier] += 1
            self._bytes_read += size_bytes
            self._seconds_saved += seconds_saved
        if _hooks:
            _tell(Event("hit", self._name, tier, size_bytes, seconds_saved))

    def miss(self, reason: str) -> None:
        with self._lock:
            self._misses[reason] += 1
        if _hooks:
            _tell(Event("miss", self._name, reason))

    def stored(self, size_bytes: int, seconds: float) -> None:
        with self._lock:
            self._bytes_written += size_bytes
        if _hooks:
            _tell(Event("store", self._name, "", size_bytes, seconds))

    def waited(self, seconds: float) -> None:
        if _hooks:
            _tell(Event("wait", self._name, "", 0, seconds))

    def error(self, code: str) -> None:
        with self._lock:
            self._errors[code] += 1
        if _hooks:
            _tell(Event("error", self._name, code))

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
