"""Bytes as they are, and values that JSON gives back as they were."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from s3kv_flow._json import loads
from s3kv_flow.codecs.base import Encoded

#: Beyond this, Python itself refuses to write an integer in decimal by default.
_MAX_INT_BITS: Final = 14_000
#: JSON writes what is shared each time anew. So many values, and so many times what there is, are
#: too many: a pickle writes them once.
MANY: Final = 1_000_000
REPEATED: Final = 64

#: JSON writes two surrogates as it writes the one character that they stand for in UTF-16.
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class BytesCodec:
    """Exactly `bytes`."""

    name = "bytes"
    safe = True
    aliases = False

    def encode(self, value: Any) -> Encoded | None:
        return Encoded([value]) if type(value) is bytes else None

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> bytes:
        (data,) = buffers
        return bytes(data)


class JSONCodec:
    """Values of which JSON keeps the types: no tuples, sets, NaN, or keys that are no strings."""

    name = "json"
    safe = True
    aliases = False

    def encode(self, value: Any) -> Encoded | None:
        text = dump_exact(value)
        return None if text is None else Encoded([text])

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        (data,) = buffers
        return loads(bytes(data))


def dump_exact(value: Any) -> bytes | None:
    """Write a value as JSON text; None where it would not come back equal and of the same types."""
    try:
        lengths: list[int] = []
        size = _size(value, {}, lengths)
        if not size or (size > MANY and size > REPEATED * sum(lengths)):
            return None
        # ASCII only, so that a lone surrogate survives.
        return json.dumps(value, allow_nan=False).encode("ascii")
    except (RecursionError, ValueError):  # endless, or an integer too long to write
        return None


def _size(value: Any, known: dict[int, int], lengths: list[int]) -> int:
    """Give how many values JSON would write; 0 where it would not give all back as they are.

    ``known`` gets the sizes of what holds others by their ids, ``lengths`` how many these really hold.
    """
    kind = type(value)
    if kind is str:
        return is_exact_text(value)
    if kind is bool or value is None:
        return 1
    if kind is int:
        return int(value.bit_length() <= _MAX_INT_BITS)
    if kind is float:
        return math.isfinite(value)
    if kind is not list and kind is not dict:
        return 0
    size = known.get(id(value))
    if size is not None:
        return size
    held: Any = value
    if kind is dict:
        if not all(type(key) is str and is_exact_text(key) for key in value):
            return 0
        held = value.values()
    sizes = [_size(one, known, lengths) for one in held]
    size = 0 if 0 in sizes else 1 + sum(sizes)
    known[id(value)] = size
    lengths.append(1 + len(value))
    return size


def is_exact_text(text: str) -> bool:
    """Whether JSON gives a text back as it is."""
    return text.isascii() or _PAIR.search(text) is None
