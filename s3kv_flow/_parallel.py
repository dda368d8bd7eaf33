"""Many requests at once: results as they are wanted, and never far ahead of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: As many as a boto3 client's connections serve without waiting for each other.
WORKERS: Final = 16
#: How far the input is read ahead, for each worker: memory stays flat over a million items.
AHEAD: Final = 4


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], *, workers: int = WORKERS, ahead: int = AHEAD
) -> Iterator[R]:
    """Give ``function`` of each item, in order, computed by threads.

    The first exception is raised when its turn comes; what has not begun by then does not.

    Examples
    --------
    >>> list(in_parallel(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as threads:
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(threads.submit(function, item))
                if len(running) >= ahead * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
