"""Maintenance by age: what an orchestrator's nightly task deletes, and what it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final

from s3kv_flow._kv import S3KV
from s3kv_flow._layout import cache_name
from s3kv_flow._model import Cleared, ObjectMeta
from s3kv_flow._runtime import default_store
from s3kv_flow.adapters.stores import ENTRY_KEY, backend_of
from s3kv_flow.errors import ConfigurationError

#: How many objects are deleted before they are counted: memory stays flat.
SWEEP_SLICE: Final = 10_000


@dataclass(frozen=True)
class Swept:
    """What a sweep of old objects did, or would do.

    Attributes
    ----------
    count : int
        How many objects went.
    size_bytes : int
        How large they were.
    locked : tuple of str
        The keys of those it kept, because retention or a legal hold protects them.
    names : Mapping[str, int]
        How many of each cache, or of each folder of keys.
    """

    count: int
    size_bytes: int
    locked: tuple[str, ...]
    names: Mapping[str, int]


def sweep(
    max_days: float,
    store: S3KV | None = None,
    *,
    prefix: str = "cache/",
    tag: tuple[str, str] | None = None,
    dry_run: bool = False,
) -> Swept:
    """Delete objects that were stored longer ago than ``max_days``, by the server's own times.

    Parameters
    ----------
    max_days : float
        Their least age.
    store : S3KV, optional
        The store; the default store if it is not given.
    prefix : str
        What their keys begin with: ``"cache/"`` is all memoized results, ``"cache/<name>/"`` those
        of one function; anything else are keys.
    tag : pair of str, optional
        A tag and its value, which they have.
    dry_run : bool
        Delete nothing, and tell what would go (locked ones are then not told apart).

    Raises
    ------
    ConfigurationError
        Negative days.
    StoreUnavailableError, AccessDeniedError
        The store could not be asked.

    Examples
    --------
    >>> from s3kv_flow.testing import ManualClock, memory_store
    >>> clock = ManualClock()
    >>> store = memory_store(clock=clock)
    >>> f = store.cached(lambda x: x, name="f")
    >>> f(1), clock.advance(days=8), f(2)
    (1, None, 2)
    >>> swept = sweep(7, store)
    >>> swept.count, swept.names
    (1, {'f': 1})
    """
    _check_days(max_days)
    backend = backend_of(store)()
    if backend.local_only:
        return Swept(0, 0, (), {})
    before = backend.objects.server_time() - timedelta(days=max_days)
    tagged = None if tag is None else set((store or default_store()).find_keys_by_tag_value(*tag))

    def is_old(key: str, found: ObjectMeta) -> bool:
        return found.modified <= before and (tagged is None or key in tagged)

    old = (one for one in backend.listed(prefix) if is_old(*one))
    names: Counter[str] = Counter()
    count, size = 0, 0
    locked: tuple[str, ...] = ()
    while some := dict(islice(old, SWEEP_SLICE)):
        if not dry_run:
            # Whatever has been stored there anew meanwhile stays.
            deleted = backend.delete_many((found.name, found.etag) for found in some.values())
            locked += deleted.locked
            for key in deleted.locked:
                some.pop(key, None)
        count += len(some)
        size += sum(found.size_bytes for found in some.values())
        names.update(map(_name_of, some))
    return Swept(count, size, locked, dict(names))


def _check_days(max_days: float) -> None:
    if max_days < 0:
        raise ConfigurationError(f"max_days={max_days!r} is negative", way_out="Give 0 or more.")


def _name_of(key: str) -> str:
    match = ENTRY_KEY.match(key)
    return match["name"] if match else key.rpartition("/")[0]


def results_of(function: str | None) -> str:
    """Give the prefix of the keys of one function's results, by its cache's name; of all, for None.

    Examples
    --------
    >>> results_of("pipeline.<locals>.step"), results_of("pipeline.%3Clocals%3E.step")
    ('cache/pipeline.%3Clocals%3E.step/', 'cache/pipeline.%3Clocals%3E.step/')
    """
    return "cache/" if function is None else f"cache/{_encoded(function)}/"


def _encoded(function: str) -> str:
    # As a person writes it, or as it stands in keys.
    return function if "%" in function else cache_name(function)


def sweep_local(
    max_days: float, store: S3KV | None = None, *, function: str | None = None
) -> Cleared:
    """Clear this machine's copies of results that it stored longer ago than ``max_days``.

    Parameters
    ----------
    max_days : float
        Their least age.
    store : S3KV, optional
        The store; the default store if it is not given.
    function : str, optional
        Only those of one function, by its cache's name.

    Raises
    ------
    ConfigurationError
        Negative days.
    """
    backend = backend_of(store)()
    _check_days(max_days)
    before = backend.clock.now() - max_days * 86400
    name = None if function is None else _encoded(function)
    return backend.chain.clear(backend.layout.entries(name), stored_before=before)
