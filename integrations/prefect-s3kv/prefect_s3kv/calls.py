"""What the policy knows of a call, for the storage: Prefect hands on nothing but the key.

The policy computes a key where the task's function and arguments are at hand; the storage then
reads and writes under it, in the same process. What is kept is small, bounded in number, and lets
go of the arguments when the task run is over.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from s3kv_flow.adapters import CachedCall, CachedCalls

#: As many task runs as one process may well have under way at once.
LIMIT: Final = 4096


@dataclass
class Known:
    """One call under way: its caching, when its key was computed, and what was read for it."""

    calls: CachedCalls
    call: CachedCall
    task: str
    started: float = field(default_factory=time.perf_counter)
    read: tuple[dict[str, Any], Any] | None = None
    """What `exists` has read; the `read` that follows must not fail, nor ask twice."""


_known: OrderedDict[str, Known] = OrderedDict()
_lock = threading.Lock()


def remember(known: Known, context: Any) -> None:
    """Keep what is known of a call for as long as its task run lasts, and a while."""
    with _lock:
        _known.pop(known.call.key, None)
        _known[known.call.key] = known
        while len(_known) > LIMIT:
            _known.popitem(last=False)
    with suppress(TypeError):  # policies are also asked without a context
        # A nested task's result is written when its parent ends: what is small stays until then.
        weakref.finalize(context, _forget, weakref.ref(known))


def _forget(reference: weakref.ref[Known]) -> None:
    known = reference()
    if known is not None:
        known.call.forget_arguments()
        known.read = None


def known_of(key: str) -> Known | None:
    """Give what is known of a key; None where another process computed it."""
    with _lock:
        return _known.get(key)
