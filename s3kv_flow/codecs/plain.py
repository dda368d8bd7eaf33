"""Bytes as they are, and values that JSON gives back as they were."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from s3kv_flow.codecs.base import Encoded

#: Beyond this, Python itself refuses to write an integer in decimal by default.
_MAX_INT_BITS: Final = 14_000
#: What `json.loads` calls, after three functions more.
_scan: Final[Any] = json.JSONDecoder().scan_once  # type: ignore[attr-defined,unused-ignore]


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
        text = str(data, "utf-8")
        try:
            value, end = _scan(text, 0)
        except (ValueError, StopIteration):
            end = -1
        # Blanks around it, which we do not write, or something wrong, which `loads` tells.
        return value if end == len(text) else json.loads(text)


def dump_exact(value: Any) -> bytes | None:
    """Write a value as JSON text; None where it would not come back equal and of the same types."""
    try:
        if not _exact(value):
            return None
        # ASCII only, so that a lone surrogate survives.
        return json.dumps(value, allow_nan=False).encode("ascii")
    except (RecursionError, ValueError):  # endless, or an integer too long to write
        return None


def _exact(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(value.bit_length() <= _MAX_INT_BITS)
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_exact, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_exact, value.values()))
    return False
