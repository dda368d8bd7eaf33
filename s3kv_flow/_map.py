"""`f.map`: many calls of one cached function, read side by side, and only the misses computed."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Protocol

from s3kv_flow._cache import FunctionCache
from s3kv_flow._model import Hit
from s3kv_flow._parallel import submit
from s3kv_flow.errors import MapError

#: As many reads as one process has at once; computations in threads, too.
WORKERS: Final = 16
#: How far items are read ahead of their results, for each worker.
AHEAD: Final = 4


class Pool(Protocol):
    """Where misses are computed: an Executor, a Dask client, or anything with such a method."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Give a future."""


def map_calls(
    function: Callable[[Any], Any],
    cache: FunctionCache,
    items: Iterable[Any],
    *,
    max_workers: int | None,
    pool: Pool | None,
    progress: bool | None,
) -> list[Any]:
    """Give the results of a cached function in the order of the items.

    Raises
    ------
    MapError
        Some calls raised; all others have been computed and stored.
    """
    total = len(items) if isinstance(items, Sized) else None
    with (
        _bar(cache.name, total, progress) as step,
        ThreadPoolExecutor(max_workers or WORKERS, thread_name_prefix="s3kv-map") as threads,
    ):
        if pool is None:
            outcomes = _in_threads(function, items, threads, max_workers or WORKERS, step)
        else:
            compute = partial(pool.submit, function)
            outcomes = _in_pool(compute, cache, list(items), threads, step)
    return _results(outcomes)


def _in_threads(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    threads: ThreadPoolExecutor,
    workers: int,
    step: Callable[[], None],
) -> dict[int, Any]:
    outcomes: dict[int, Any] = {}
    running: dict[Future[Any], int] = {}
    # `concurrent.futures.wait` would look at all that are running for each one that is done.
    done: SimpleQueue[Future[Any]] = SimpleQueue()

    def collect() -> None:
        future = done.get()
        outcomes[running.pop(future)] = _outcome(future)
        step()

    try:
        for position, item in enumerate(items):
            context = contextvars.copy_context()  # the mode of whoever asks
            future = submit(threads, context.run, function, item)
            running[future] = position
            future.add_done_callback(done.put)
            if len(running) >= AHEAD * workers:
                collect()
        while running:
            collect()
    except BaseException:
        for future in running:
            future.cancel()
        raise
    return outcomes


def _in_pool(
    compute: Callable[[Any], Any],
    cache: FunctionCache,
    items: list[Any],
    threads: ThreadPoolExecutor,
    step: Callable[[], None],
) -> dict[int, Any]:
    """Read here, compute there: each key once, however often it is asked for."""

    def read(item: Any) -> tuple[str | None, Hit[Any] | None]:
        call = cache.call_or_none((item,), {})
        return (None, None) if call is None else (call.key, cache.stored(call))

    outcomes: dict[int, Any] = {}
    submitted: dict[str, Any] = {}
    waiting: list[tuple[int, Any]] = []
    try:
        contexts = (contextvars.copy_context() for _ in items)
        reads = [submit(threads, next(contexts).run, read, item) for item in items]
        for position, (item, found) in enumerate(zip(items, reads, strict=True)):
            key, hit = found.result()
            if hit is not None:
                outcomes[position] = hit.value
                step()
                continue
            future = submitted.get(key) if key is not None else None
            if future is None:
                future = compute(item)
                if key is not None:
                    submitted[key] = future
            waiting.append((position, future))
        for position, future in waiting:
            outcomes[position] = _outcome(future)
            step()
    except BaseException:
        for _, future in waiting:
            future.cancel()
        raise
    return outcomes


def _outcome(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:
        return Failed(error)


class Failed:
    """In the place of a result: what the call raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _results(outcomes: dict[int, Any]) -> list[Any]:
    results = [outcomes[position] for position in range(len(outcomes))]
    failures = {
        position: one.error for position, one in enumerate(results) if isinstance(one, Failed)
    }
    if failures:
        raise map_error(results, failures)
    return results


def map_error(results: list[Any], failures: dict[int, Exception]) -> MapError:
    """Give the error for calls that raised, with the results of the others."""
    first = min(failures)
    kept = [None if position in failures else one for position, one in enumerate(results)]
    error = MapError(
        f"{len(failures)} of {len(results)} calls raised, the first one (item {first}) "
        f"{type(failures[first]).__name__}: {failures[first]}",
        way_out="The others are stored: once the cause is mended, only these are computed again. "
        "See .failures and .results.",
    )
    error.results, error.failures = kept, failures
    error.__cause__ = failures[first]
    return error


@contextmanager
def _bar(name: str, total: int | None, wanted: bool | None) -> Iterator[Callable[[], None]]:
    """Show a progress bar where a person looks: a terminal or a notebook."""
    if wanted is None:
        wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not wanted:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)
