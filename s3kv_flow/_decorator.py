"""`cached`: what a cached function does when it is called, and the attributes it carries."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload

from s3kv_flow._backend import Backend
from s3kv_flow._cache import Call, FunctionCache
from s3kv_flow._drive import in_thread, revalidate, revalidate_async, run, run_async
from s3kv_flow._explain import Explanation
from s3kv_flow._explain import entries as entries_of
from s3kv_flow._explain import explain as explained
from s3kv_flow._map import WORKERS, Pool, map_calls, map_error
from s3kv_flow._model import Cleared, Entry
from s3kv_flow._policy import Policy
from s3kv_flow.errors import MissError

if TYPE_CHECKING:
    from s3kv_flow._events import CacheInfo

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_NO_DEFAULT: Final = object()


class CachedFunction(Protocol[P, R_co]):
    """A function whose results are stored, as `cached` gives it."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Give the stored result, or compute, store and give it."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Give the call's key, ``cache/<name>/<h2>/<digest>``, without running anything."""

    def contains(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether a valid result is stored."""

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """Give what is known of the stored result, without the value."""

    def get(self, *args: Any, default: Any = ..., **kwargs: Any) -> Any:
        """Give the stored result and never compute: else the default, or `MissError`."""

    def put(self, value: Any, *args: Any, **kwargs: Any) -> None:
        """Store a result that was computed elsewhere; the value comes first."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute and store again, whatever is stored."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the stored result, here and in the bucket."""

    def cache_clear(self) -> Cleared:
        """Forget all results of this function, here and in the bucket."""

    def map(
        self,
        items: Iterable[Any],
        *,
        max_workers: int | None = None,
        pool: Pool | None = None,
        progress: bool | None = None,
    ) -> Sequence[R_co]:
        """Give the results for many items, each the one argument of a call, in their order.

        They are read side by side, and only the misses computed: in threads, or in a ``pool`` with
        a ``submit`` method (an Executor of processes, a Dask client). A bar shows the progress where
        a person looks, or as ``progress`` says. If calls raise, the others are computed and stored
        all the same, and then `MapError` is raised.
        """

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Say why the call hits or misses: what differs from the entry most like it."""

    def entries(self) -> Iterator[Entry]:
        """Give the entries of this function, lazily, without their values."""

    def cache_info(self) -> CacheInfo:
        """Give this process's counters."""


class CachedCoroutineFunction(Protocol[P, R_co]):
    """A coroutine function whose results are stored; whatever asks the store is awaited."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Give the stored result, or compute, store and give it."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Give the call's key, ``cache/<name>/<h2>/<digest>``, without running anything."""

    async def contains(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether a valid result is stored."""

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """Give what is known of the stored result, without the value."""

    async def get(self, *args: Any, default: Any = ..., **kwargs: Any) -> Any:
        """Give the stored result and never compute: else the default, or `MissError`."""

    async def put(self, value: Any, *args: Any, **kwargs: Any) -> None:
        """Store a result that was computed elsewhere; the value comes first."""

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute and store again, whatever is stored."""

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the stored result, here and in the bucket."""

    async def cache_clear(self) -> Cleared:
        """Forget all results of this function, here and in the bucket."""

    async def map(self, items: Iterable[Any], *, max_workers: int | None = None) -> Sequence[R_co]:
        """Give the results for many items, each the one argument of a call, in their order.

        So many calls are under way at once, 16 unless told otherwise. If some raise, the others
        are computed and stored all the same, and then `MapError` is raised.
        """

    async def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Say why the call hits or misses: what differs from the entry most like it."""

    async def entries(self) -> list[Entry]:
        """Give the entries of this function, without their values."""

    def cache_info(self) -> CacheInfo:
        """Give this process's counters."""


class CachedDecorator(Protocol):
    """What ``cached(...)`` with options gives."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutineFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


def decorate(function: Any, policy: Policy, backend: Callable[[], Backend]) -> Any:
    """Give the cached form of a function over a store's blocks.

    Raises
    ------
    TypeError
        It is a generator function, or not callable at all.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(decorate(function.__func__, policy, backend))
    if not callable(function):
        raise TypeError(f"cached() takes a function, not {type(function).__name__}")
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise TypeError(
            f"{function.__qualname__} is a generator function, and what it yields is gone once read; "
            "cache a function that returns a list of it"
        )
    cache = FunctionCache(function, policy, backend)
    if inspect.iscoroutinefunction(function):
        return _with_coroutines(function, cache)
    return _with_functions(function, cache)


# Functions and coroutine functions


def _with_functions(function: Callable[..., Any], cache: FunctionCache) -> Any:
    @functools.wraps(function)
    def cached_function(*args: Any, **kwargs: Any) -> Any:
        call = cache.call_or_none(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        hit = cache.look(call) or run(cache, call, computing(call))
        if hit.stale:
            revalidate(cache, call, computing(call))
        return hit.value

    def computing(call: Call) -> Callable[[], Any]:
        return functools.partial(function, *call.args, **call.kwargs)

    def key(*args: Any, **kwargs: Any) -> str:
        return cache.call(args, kwargs).key

    def contains(*args: Any, **kwargs: Any) -> bool:
        return cache.peek(cache.call(args, kwargs)) is not None

    def peek(*args: Any, **kwargs: Any) -> Entry | None:
        return cache.peek(cache.call(args, kwargs))

    def get(*args: Any, default: Any = _NO_DEFAULT, **kwargs: Any) -> Any:
        try:
            return cache.read(cache.call(args, kwargs))
        except MissError:
            if default is _NO_DEFAULT:
                raise
            return default

    def put(value: Any, /, *args: Any, **kwargs: Any) -> None:
        cache.put(cache.call(args, kwargs), value)

    def refresh(*args: Any, **kwargs: Any) -> Any:
        call = cache.call(args, kwargs)
        return run(cache, call, computing(call), cache.claim).value

    def invalidate(*args: Any, **kwargs: Any) -> None:
        cache.invalidate(cache.call(args, kwargs))

    def cache_clear() -> Cleared:
        return cache.clear()

    def map(  # noqa: A001 - the contract's name
        items: Iterable[Any],
        *,
        max_workers: int | None = None,
        pool: Pool | None = None,
        progress: bool | None = None,
    ) -> list[Any]:
        return map_calls(
            cached_function, cache, items, max_workers=max_workers, pool=pool, progress=progress
        )

    def explain(*args: Any, **kwargs: Any) -> Explanation:
        return explained(cache, cache.call(args, kwargs))

    def entries() -> Iterator[Entry]:
        return entries_of(cache)

    def cache_info() -> CacheInfo:
        return cache.counters.info()

    reading = (key, contains, peek, get, explain, entries, cache_info)
    return _attach(cached_function, (*reading, map, put, refresh, invalidate, cache_clear))


def _with_coroutines(function: Callable[..., Any], cache: FunctionCache) -> Any:
    @functools.wraps(function)
    async def cached_function(*args: Any, **kwargs: Any) -> Any:
        call = cache.call_or_none(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        hit = await in_thread(cache.look, call) or await run_async(cache, call, computing(call))
        if hit.stale:
            revalidate_async(cache, call, computing(call))
        return hit.value

    def computing(call: Call) -> Callable[[], Any]:
        return functools.partial(function, *call.args, **call.kwargs)

    def key(*args: Any, **kwargs: Any) -> str:
        return cache.call(args, kwargs).key

    async def contains(*args: Any, **kwargs: Any) -> bool:
        return await in_thread(cache.peek, cache.call(args, kwargs)) is not None

    async def peek(*args: Any, **kwargs: Any) -> Any:
        return await in_thread(cache.peek, cache.call(args, kwargs))

    async def get(*args: Any, default: Any = _NO_DEFAULT, **kwargs: Any) -> Any:
        try:
            return await in_thread(cache.read, cache.call(args, kwargs))
        except MissError:
            if default is _NO_DEFAULT:
                raise
            return default

    async def put(value: Any, /, *args: Any, **kwargs: Any) -> None:
        await in_thread(cache.put, cache.call(args, kwargs), value)

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        call = cache.call(args, kwargs)
        return (await run_async(cache, call, computing(call), cache.claim)).value

    async def invalidate(*args: Any, **kwargs: Any) -> None:
        await in_thread(cache.invalidate, cache.call(args, kwargs))

    async def cache_clear() -> Any:
        return await in_thread(cache.clear)

    async def map(  # noqa: A001 - the contract's name
        items: Iterable[Any], *, max_workers: int | None = None
    ) -> list[Any]:
        import asyncio

        places = asyncio.Semaphore(max_workers or WORKERS)

        async def one(item: Any) -> Any:
            async with places:
                return await cached_function(item)

        results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        failures = {n: error for n, error in enumerate(results) if isinstance(error, Exception)}
        if failures:
            raise map_error(results, failures)
        return results

    async def explain(*args: Any, **kwargs: Any) -> Any:
        return await in_thread(explained, cache, cache.call(args, kwargs))

    async def entries() -> Any:
        return await in_thread(lambda: list(entries_of(cache)))

    def cache_info() -> CacheInfo:
        return cache.counters.info()

    reading = (key, contains, peek, get, explain, entries, cache_info)
    return _attach(cached_function, (*reading, map, put, refresh, invalidate, cache_clear))


def _attach(cached_function: Any, operations: tuple[Callable[..., Any], ...]) -> Any:
    for operation in operations:
        setattr(cached_function, operation.__name__, operation)
    return cached_function
