"""What a store may do at the moment: the store's own mode, unless a context says otherwise."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from s3kv_flow.errors import ConfigurationError

Mode = Literal["read_write", "read_only", "refresh", "off", "offline", "require_hit"]
MODES: Final[tuple[str, ...]] = get_args(Mode)

asked_mode: contextvars.ContextVar[Mode | None] = contextvars.ContextVar("s3kv_mode", default=None)


@contextmanager
def mode(mode: Mode) -> Iterator[None]:
    """Change what all stores do inside of a ``with`` block, in this context or task alone.

    Parameters
    ----------
    mode : str
        ``"read_write"``, as ever. ``"read_only"``: hits are served, nothing is written.
        ``"refresh"``: cached functions compute and store again. ``"off"``: they just run.
        ``"offline"``: the local cache alone is asked, and filled. ``"require_hit"``: a miss raises
        `MissError` in place of computing.

    Raises
    ------
    ConfigurationError
        There is no such mode.

    Examples
    --------
    >>> import s3kv_flow as s3kv
    >>> from s3kv_flow.testing import memory_store
    >>> kv = memory_store()
    >>> @kv.cached
    ... def double(x):
    ...     return 2 * x
    >>> with s3kv.mode("off"):
    ...     double(1)
    2
    >>> double.contains(1)
    False
    """
    token = asked_mode.set(check_mode(mode))
    try:
        yield
    finally:
        asked_mode.reset(token)


def check_mode(mode: str) -> Mode:
    """Give a mode, or refuse what is none."""
    if mode not in MODES:
        raise ConfigurationError(
            f"mode={mode!r} has no meaning", way_out=f"Known are {', '.join(MODES)}."
        )
    return mode  # type: ignore[return-value]
