"""The memoized calls of one function, for whoever runs the function in its own way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from s3kv_flow._cache import Call, FunctionCache
from s3kv_flow._drive import run, run_async
from s3kv_flow._events import CacheInfo
from s3kv_flow._kv import S3KV
from s3kv_flow._model import Entry, Hit
from s3kv_flow._policy import Policy
from s3kv_flow.adapters.stores import ENTRY_KEY, backend_of
from s3kv_flow.errors import InvalidKeyError
from s3kv_flow.keys.classes import cache_of


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
        cache: FunctionCache | None = cache_of(function)
        backend = backend_of(store)
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
        assert found.entry is not None  # it was stored
        created = datetime.fromtimestamp(found.entry.created, timezone.utc)
        return Found(found.value, created, found.entry.header.get("about", {}))

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
    match = ENTRY_KEY.match(key)
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
