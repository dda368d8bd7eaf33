"""A quick stream of plain values: equal streams are of equal values, in this process.

It is no key. One value has many streams (a dict by its order, a set by its hashes), which costs its
reader a look-up that finds nothing; no two values share one, for it can be unpickled. It is made by
the C pickler with its memo off, in about a fifth of the time of the key's own encoding.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final

from s3kv_flow.keys.digest import Digest

#: What a stream may hold: exact builtins, whose pickles tell their types and depend on nothing else.
TREES: Final = frozenset({dict, list, tuple, set, frozenset})

#: The pickler goes as deep as Python's limit says, and each level takes stack: where somebody has
#: raised the limit, it would overflow.
DEEPEST: Final = 5000


class _NotPlainError(Exception):
    pass


class _Plain(pickle.Pickler):
    """Pickles exact builtins, and refuses everything whose own code would have a say."""

    def reducer_override(self, _: Any) -> Any:
        raise _NotPlainError


class _One:
    """Takes one frame of a pickle (64 KiB): longer values are not worth being looked up."""

    frame = b""

    def write(self, frame: bytes) -> None:
        # A frame that does not end the pickle goes before something long, which would be copied next.
        if self.frame or not frame.endswith(pickle.STOP):
            raise _NotPlainError
        self.frame = frame


#: Picklers at rest: to make one takes a quarter of the time. One that failed does not come back.
_idle: list[tuple[_Plain, _One]] = []
IDLE: Final = 8


def stream_digest(value: Any, digest: Digest) -> bytes | None:
    """Give the digest of a value's stream; None where it has none, or a long one."""
    if sys.getrecursionlimit() > DEEPEST:
        return None
    try:
        pickler, one = _idle.pop()
    except IndexError:
        one = _One()
        pickler = _Plain(one, 4)
        pickler.fast = True  # no memo: shared and copied parts look alike
    try:
        pickler.dump(value)
    except Exception:  # whoever encodes the key tells what is wrong with the value
        return None
    found = digest.of(one.frame)
    if len(_idle) < IDLE:
        one.frame = b""
        _idle.append((pickler, one))
    return found
