"""What integrations with orchestrators stand on: memoized calls that somebody else runs.

An orchestrator decides itself when a task runs, and where. `CachedCalls` gives it the keys,
entries and single flight of a function, so that what it stores is what `cached` would have stored;
`WorkLease` is the lease of the cluster, for locks that it keeps itself.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Final

from s3kv_flow._backend import Backend
from s3kv_flow._cache import Call, FunctionCache
from s3kv_flow._decorator import CACHE_ATTRIBUTE
from s3kv_flow._drive import run, run_async
from s3kv_flow._events import CacheInfo
from s3kv_flow._kv import S3KV
from s3kv_flow._layout import cache_name
from s3kv_flow._lease import NO_LEASES, Leases
from s3kv_flow._model import Cleared, Entry, Hit, ObjectMeta
from s3kv_flow._policy import Policy
from s3kv_flow._runtime import default_store
from s3kv_flow._tags import fill, valid_tags
from s3kv_flow.errors import ConfigurationError, InvalidKeyError

__all__ = [
    "CachedCall",
    "CachedCalls",
    "Found",
    "Ran",
    "Swept",
    "WorkLease",
    "calls_at",
    "fill",
    "results_of",
    "sweep",
    "sweep_local",
    "valid_tags",
]

_ENTRY_KEY = re.compile(r"cache/(?P<name>.+)/(?P<h2>[0-9a-f]{2})/(?P=h2)[0-9a-f]+\Z")


@dataclass(frozen=True)
class Found:
    """A stored result.

    Attributes
    ----------
    value : object
        The result, the caller's alone.
    created : datetime
        When it was stored (UTC).
    about : Mapping[str, Any]
        What an orchestrator stored beside it; see :meth:`CachedCalls.store`.
    """

    value: Any
    created: datetime
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Ran:
    """The result of a call, and whether it was found or computed.

    Attributes
    ----------
    value : object
        The result.
    hit : bool
        False where this very call computed it.
    """

    value: Any
    hit: bool


class CachedCall:
    """One call of one function, in any store: made by :meth:`CachedCalls.call`.

    Attributes
    ----------
    key : str
        Its key, ``cache/<name>/<h2>/<digest>``.
    tags : Mapping[str, str] or Exception
        The tags that the policy gives it; or why there are none.
    """

    __slots__ = ("args", "key", "kwargs", "tags")

    def __init__(
        self,
        key: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        tags: Mapping[str, str] | Exception,
    ) -> None:
        self.key = key
        self.args = args
        self.kwargs = kwargs
        self.tags = tags

    def forget_arguments(self) -> None:
        """Let go of the arguments: an orchestrator may hold many calls, and a call large values."""
        self.args, self.kwargs = (), {}


class CachedCalls:
    """The memoized calls of one function, for whoever runs the function in its own way.

    Parameters
    ----------
    function : callable
        The user's. One that is cached already brings its policy, and its store, along.
    policy : Policy, optional
        The options of its caching.
    store : S3KV, optional
        Where results are stored; the default store if it is not given.

    Examples
    --------
    >>> from s3kv_flow.testing import memory_store
    >>> def double(x):
    ...     return 2 * x
    >>> calls = CachedCalls(double, store=memory_store())
    >>> call = calls.call(4)
    >>> calls.run(call, lambda: double(4))
    Ran(value=8, hit=False)
    >>> calls.run(calls.call(x=4), lambda: double(4))
    Ran(value=8, hit=True)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        policy: Policy | None = None,
        store: S3KV | None = None,
    ) -> None:
        cache: FunctionCache | None = getattr(function, CACHE_ATTRIBUTE, None)
        backend = _backend_of(store)
        if cache is not None:
            function = cache.identity.function
            policy = policy or cache.policy
            if store is None:
                backend = lambda: cache.backend  # noqa: E731
        self._cache = FunctionCache(function, policy or Policy(), backend)
        self._elsewhere: dict[int, CachedCalls] = {}

    def on(self, store: S3KV) -> CachedCalls:
        """Give the same calls in another store; their keys are the same."""
        found = self._elsewhere.get(id(store))
        if found is None:
            found = CachedCalls(self._cache.identity.function, self.policy, store)
            found._cache.named(self.name)
            self._elsewhere[id(store)] = found
        return found

    def _call(self, call: CachedCall) -> Call:
        name = self._cache.backend.layout.entry(call.key)
        return Call(call.key, name, call.args, call.kwargs)

    @property
    def name(self) -> str:
        """The cache's name."""
        return self._cache.name

    @property
    def policy(self) -> Policy:
        """The options."""
        return self._cache.policy

    def call(self, /, *args: Any, **kwargs: Any) -> CachedCall:
        """Give the call with these arguments; its key and tags are made here and now.

        Raises
        ------
        UnhashableArgumentError
            An argument has no stable key.
        TypeError
            The arguments do not fit the function.
        """
        key = self._cache.key_of(args, kwargs)
        return CachedCall(key, args, kwargs, self._cache.tags_or_error(Call(key, "", args, kwargs)))

    def run(self, call: CachedCall, compute: Callable[[], Any]) -> Ran:
        """Give the stored result, or compute and store it: once, whoever else asks meanwhile.

        A store that fails breaks nothing: the call is computed. What ``compute`` raises is raised.
        """
        ran: list[bool] = []

        def computing() -> Any:
            ran.append(True)
            return compute()

        if self._cache.backend.mode == "off":
            return Ran(compute(), hit=False)
        here = self._call(call)
        hit = self._cache.look(here) or run(self._cache, here, computing)
        return Ran(hit.value, not ran)

    async def run_async(self, call: CachedCall, compute: Callable[[], Awaitable[Any]]) -> Ran:
        """Do the same for a coroutine function."""
        ran: list[bool] = []

        async def computing() -> Any:
            ran.append(True)
            return await compute()

        if self._cache.backend.mode == "off":
            return Ran(await compute(), hit=False)
        hit = await run_async(self._cache, self._call(call), computing)
        return Ran(hit.value, not ran)

    def look(self, call: CachedCall) -> Found | None:
        """Give the stored result, or None; counted as a hit, or as a miss with its reason.

        A store that fails is a miss, as far as ``on_error`` says so.

        Raises
        ------
        MissError
            In mode ``"require_hit"``.
        """
        found = self._cache.asked(self._call(call))
        if not isinstance(found, Hit):
            return None
        header = found.header or {}
        created = datetime.fromtimestamp(header.get("created", 0.0), timezone.utc)
        return Found(found.value, created, header.get("about", {}))

    def store(
        self,
        call: CachedCall,
        value: Any,
        *,
        seconds: float = 0.0,
        tags: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store a result that was computed elsewhere, whatever is stored now.

        Parameters
        ----------
        call : CachedCall
            The call it is the result of.
        value : object
            The result.
        seconds : float
            How long it took to compute.
        tags : mapping, optional
            Tags besides those of the policy.
        about : mapping, optional
            JSON values to store beside it.

        Returns
        -------
        bool
            False where the policy or the mode says that it shall not be stored.

        Raises
        ------
        S3KVError
            It could not be stored.
        """
        cache = self._cache
        if cache.backend.mode in ("off", "read_only", "offline"):
            return False
        if cache.policy.cache_if is not None and not cache.policy.cache_if(value):
            return False
        if isinstance(call.tags, Exception):
            raise call.tags
        all_tags = {**call.tags, **(tags or {})}
        cache.put(self._call(call), value, seconds=seconds, tags=all_tags, about=about)
        return True

    def peek(self, call: CachedCall) -> Entry | None:
        """Give what is known of a valid entry, without its value."""
        return self._cache.peek(self._call(call))

    def invalidate(self, call: CachedCall) -> None:
        """Forget the stored result, here and in the bucket."""
        self._cache.invalidate(self._call(call))

    def cache_info(self) -> CacheInfo:
        """Give the counters."""
        return self._cache.counters.info()


def calls_at(
    key: str, policy: Policy | None = None, store: S3KV | None = None
) -> tuple[CachedCalls, CachedCall]:
    """Give the calls behind a key alone, to read what another process has stored there.

    Raises
    ------
    InvalidKeyError
        It is no key of a memoized result.

    Examples
    --------
    >>> from s3kv_flow.testing import memory_store
    >>> store = memory_store()
    >>> f = store.cached(lambda: 7, name="seven")
    >>> f()
    7
    >>> calls, call = calls_at(f.key(), store=store)
    >>> calls.look(call).value
    7
    """
    match = _ENTRY_KEY.match(key)
    if match is None:
        raise InvalidKeyError(
            "the key is not one of a memoized result",
            key=key,
            way_out="It looks like cache/<name>/<h2>/<digest>.",
        )
    calls = CachedCalls(
        _elsewhere, (policy or Policy()).replace(name="elsewhere", version=0), store
    )
    calls._cache.named(match["name"])
    return calls, CachedCall(key, (), {}, {})


def _elsewhere() -> None:
    """Stand for a function that another process knows."""


def _backend_of(store: S3KV | None) -> Callable[[], Backend]:
    if store is None:
        return lambda: default_store()._backend
    return lambda: store._backend


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
    if max_days < 0:
        raise ConfigurationError(f"max_days={max_days!r} is negative", way_out="Give 0 or more.")
    backend = _backend_of(store)()
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


def _name_of(key: str) -> str:
    match = _ENTRY_KEY.match(key)
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
    backend = _backend_of(store)()
    if max_days < 0:
        raise ConfigurationError(f"max_days={max_days!r} is negative", way_out="Give 0 or more.")
    before = backend.clock.now() - max_days * 86400
    name = None if function is None else _encoded(function)
    return backend.chain.clear(backend.layout.entries(name), stored_before=before)


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
        self._backend = _backend_of(store)
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
