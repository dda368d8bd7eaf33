"""A quick stream of plain values: equal streams are of equal values, in this process.

It is no key. One value has many streams (a dict by its order, a set by its hashes), which costs its
reader a look-up that finds nothing; no two values share one, for it can be unpickled. It is made by
the C pickler with its memo off, in a third to a tenth of the time of the key's own encoding.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, Final

from s3kv_flow.keys.deep import stack_bytes
from s3kv_flow.keys.digest import Digest

#: What a stream may hold: exact builtins, whose pickles tell their types and depend on nothing else.
TREES: Final = frozenset({dict, list, tuple, set, frozenset})

#: The pickler goes as deep as Python's limit says, from 3.12 on as deep as this, and takes no more
#: stack for each level: on a small one, or where somebody has raised the limit, it would overflow.
DEEPEST: Final = 10_000
BYTES_OF_A_LEVEL: Final = 512

#: A pickle is written in frames that end where they have this many bytes (PEP 3154); what is longer
#: by itself is written by itself.
FRAME: Final = 64 * 1024


class _NotPlainError(Exception):
    pass


class _Plain(pickle.Pickler):
    """Pickles exact builtins, and refuses everything whose own code would have a say."""

    def reducer_override(self, _: Any) -> Any:
        raise _NotPlainError


class _One:
    """Takes one frame of a pickle."""

    frame = b""

    def write(self, frame: bytes) -> None:
        if self.frame or not frame.endswith(pickle.STOP):
            raise _NotPlainError
        self.frame = frame


class _Many:
    """Takes the frames of a pickle as they come, and keeps none."""

    def __init__(self, digest: Digest, most: int) -> None:
        self.hash = digest.begin(b"")
        self._left = most

    def write(self, frame: bytes) -> None:
        self._left -= len(frame)
        # A short frame that does not end the pickle goes before something long, which would be copied.
        if self._left < 0 or (len(frame) < FRAME and not frame.endswith(pickle.STOP)):
            raise _NotPlainError
        self.hash.update(frame)


#: Picklers at rest: to make one takes a quarter of the time. One that failed does not come back.
_idle: list[tuple[_Plain, _One]] = []
IDLE: Final = 8


def stream_digest(value: Any, digest: Digest) -> bytes | None:
    """Give the digest of a value's stream; None where it has none, or one of several frames."""
    if not _has_room():
        return None
    try:
        pickler, one = _idle.pop()
    except IndexError:
        one = _One()
        pickler = _pickler(one)
    try:
        pickler.dump(value)
    except Exception:  # whoever encodes the key tells what is wrong with the value
        return None
    found = digest.of(one.frame)
    if len(_idle) < IDLE:
        one.frame = b""
        _idle.append((pickler, one))
    return found


def long_stream_digest(value: Any, digest: Digest, most: int) -> bytes | None:
    """Give the digest of a value's stream; None where it has none, or more bytes than ``most``."""
    if not _has_room():
        return None
    many = _Many(digest, most)
    try:
        _pickler(many).dump(value)
    except Exception:
        return None
    return many.hash.digest()


def _has_room() -> bool:
    levels = DEEPEST if sys.version_info >= (3, 12) else sys.getrecursionlimit()
    return stack_bytes() >= BYTES_OF_A_LEVEL * levels


def _pickler(file: _One | _Many) -> _Plain:
    pickler = _Plain(file, 4)
    pickler.fast = True  # no memo: shared and copied parts look alike
    return pickler
