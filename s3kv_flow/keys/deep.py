"""Values that are nested deeper than Python likes to go."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from s3kv_flow.errors import UnhashableArgumentError

T = TypeVar("T")

STACK_BYTES: Final = 512 * 1024 * 1024
DEPTH: Final = 1_000_000

#: So deep goes an ordinary stack, though somebody has raised the limit on recursion: it may be small.
ORDINARY_DEPTH: Final = 500

_one_at_a_time = threading.Lock()
_here = threading.local()


def check_depth() -> None:
    """Refuse to go deeper than `ORDINARY_DEPTH`, but on a deep stack.

    Raises
    ------
    RecursionError
        As Python itself would raise it, had nobody raised its limit.
    """
    if not getattr(_here, "is_deep", False):
        raise RecursionError


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

    def run() -> None:
        _here.is_deep = True
        try:
            outcome.append(compute())
        except BaseException as error:
            failure.append(error)

    with _one_at_a_time:
        limit = sys.getrecursionlimit()
        thread = threading.Thread(target=run, name="s3kv-deep")
        try:
            sys.setrecursionlimit(DEPTH)
            _start(thread)
            thread.join()
        finally:
            sys.setrecursionlimit(limit)
    if failure:
        if isinstance(failure[0], RecursionError):
            raise UnhashableArgumentError(
                "an argument is nested too deep", way_out="Flatten it, or give key=."
            ) from None
        raise failure[0]
    return outcome[0]


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
