"""Many requests at once: results as they are wanted, and never far ahead of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

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
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as threads:
        running: deque[Future[R]] = deque()
        try:
            for item in items:
                running.append(submit(threads, function, item))
                if len(running) >= ahead * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def submit(threads: ThreadPoolExecutor, function: Callable[..., R], *args: Any) -> Future[R]:
    """Have a thread call ``function``; at the end of the interpreter, call it here.

    Once the main thread is done, no executor takes anything, though other threads (and then the
    functions of `atexit`) go on, and may well use what is cached.
    """
    try:
        return threads.submit(function, *args)
    except RuntimeError as error:
        if not str(error).startswith("cannot schedule new futures after"):
            raise  # the system gives no thread
    from concurrent.futures import Future

    done: Future[R] = Future()
    try:
        done.set_result(function(*args))
    except BaseException as error:
        done.set_exception(error)
    return done
