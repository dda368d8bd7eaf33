"""Values that are nested deeper than Python likes to go."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from s3kv_flow.errors import UnhashableArgumentError

T = TypeVar("T")

STACK_BYTES: Final = 512 * 1024 * 1024
DEPTH: Final = 1_000_000

#: So deep goes an ordinary stack, though somebody has raised the limit on recursion; a small one goes
#: as deep as it has room for, this deep at least.
ORDINARY_DEPTH: Final = 500
SHALLOW: Final = 32
BYTES_OF_A_LEVEL: Final = 4096

#: An interrupted computation has so long to come to an end.
SECONDS_TO_STOP: Final = 10.0


class _Deep:
    """A computation on a deep stack."""

    def __init__(self) -> None:
        #: Set where nobody waits for it any more, and by itself at its end.
        self.stops = threading.Event()
        self.ended = threading.Event()


class _StoppedError(BaseException):
    pass


_one_at_a_time = threading.Lock()
_here = threading.local()


def check_depth(depth: int) -> None:
    """Refuse to go deeper than an ordinary stack allows, but on a deep one.

    Raises
    ------
    RecursionError
        As Python itself would raise it, had nobody raised its limit.
    """
    deep: _Deep | None = getattr(_here, "deep", None)
    if deep is not None:
        if deep.stops.is_set():
            raise _StoppedError
    elif depth > ORDINARY_DEPTH or 0 < stack_bytes() < depth * BYTES_OF_A_LEVEL:
        raise RecursionError


def is_deep() -> bool:
    """Whether this is a deep stack."""
    return getattr(_here, "deep", None) is not None


def on_a_deep_stack(compute: Callable[[], T]) -> T:
    """Run something recursive in a thread with room for it.

    The limit on recursion is the process's, so it is raised only meanwhile; the memory of the
    stack is taken as it is used.

    Raises
    ------
    UnhashableArgumentError
        Even that is not deep enough.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    deep = _Deep()

    def run() -> None:
        _here.deep = deep
        try:
            outcome.append(compute())
        except BaseException as error:
            failure.append(error)
        finally:
            deep.ended.set()

    with _one_at_a_time:
        limit = sys.getrecursionlimit()
        thread = threading.Thread(target=run, name="s3kv-deep", daemon=True)
        try:
            sys.setrecursionlimit(DEPTH)
            _start(thread)
            deep.ended.wait()
            thread.join()
        finally:
            # Interrupted, it is still deep down: with the old limit Python would abort.
            if thread.ident is None or _stops(deep):
                sys.setrecursionlimit(limit)
    if failure:
        if isinstance(failure[0], RecursionError):
            raise UnhashableArgumentError(
                "an argument is nested too deep", way_out="Flatten it, or give key=."
            ) from None
        raise failure[0]
    return outcome[0]


def _stops(deep: _Deep) -> bool:
    deep.stops.set()
    ends = time.monotonic() + SECONDS_TO_STOP
    while not deep.ended.is_set() and time.monotonic() < ends:
        with suppress(KeyboardInterrupt):  # it is on its way already
            deep.ended.wait(0.1)
    return deep.ended.is_set()


def stack_bytes() -> int:
    """Give the size of this thread's stack; 0 where the system does not tell."""
    size: int | None = getattr(_here, "stack_bytes", None)
    if size is None:
        try:
            size = _ask_stack_bytes()
        except (OSError, AttributeError, ImportError):
            size = 0
        _here.stack_bytes = size
    return size


def _ask_stack_bytes() -> int:
    import ctypes

    library = ctypes.CDLL(None)
    library.pthread_self.restype = ctypes.c_void_p
    thread = ctypes.c_void_p(library.pthread_self())
    if sys.platform == "darwin":
        library.pthread_get_stacksize_np.restype = ctypes.c_size_t
        return int(library.pthread_get_stacksize_np(thread))
    attributes = ctypes.create_string_buffer(256)  # a pthread_attr_t has at most 64 bytes
    size = ctypes.c_size_t()
    if library.pthread_getattr_np(thread, attributes):
        return 0
    library.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    library.pthread_attr_destroy(attributes)
    return size.value


def _start(thread: threading.Thread) -> None:
    size = threading.stack_size(STACK_BYTES)
    try:
        thread.start()
    except RuntimeError as error:
        raise UnhashableArgumentError(
            f"an argument is nested deep, and there is no thread for it ({error})",
            way_out="Flatten it, or give key=.",
        ) from error
    finally:
        threading.stack_size(size)
