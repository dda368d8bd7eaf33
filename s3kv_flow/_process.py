"""What must not survive a fork.

A forked child inherits locks that a vanished thread may hold, futures that nobody will
resolve, and connections it would share with its parent. Whoever owns such a thing gives a
bound method here; it runs in the child before anything else does.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

_resets: list[weakref.WeakMethod[Callable[[], Any]]] = []


def reset_after_fork(reset: Callable[[], Any]) -> None:
    """Call the bound method ``reset`` in every forked child, as long as its object lives."""
    _resets.append(weakref.WeakMethod(reset, _resets.remove))


def _in_child() -> None:
    for reference in tuple(_resets):
        reset = reference()
        if reset is not None:
            reset()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
