"""What a key is made of, by name: digests only, kept beside an entry to tell later what differs.

No value is kept. But names are in the clear, those of dict keys and columns among them, also in
sealed entries; and who can read the bucket and guesses an argument can check the guess.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.digest import SCHEME, Digest
from s3kv_flow.keys.token import Encoder

#: Names are followed this deep into an argument.
DEPTH: Final = 3
#: No more names than this.
LIMIT: Final = 200
_DIGEST_BYTES: Final = 6
_MAX_TEXT_BYTES: Final = 256 * 1024

Parts = Mapping[str, str]


def of_call(arguments: Mapping[str, Any], code: Mapping[str, bytes], digest: Digest) -> Parts:
    """Give the parts of a call: its arguments, breadth first, and its code.

    Parameters
    ----------
    arguments : mapping
        Values by the names of their parameters.
    code : mapping
        Tokens of what the function is made of, by name.
    digest : Digest
        The hash of the key.
    """
    encoder = Encoder(digest)
    parts = {"scheme": SCHEME[:-1].decode(), "hash": digest.name}
    for name, token in list(code.items())[: LIMIT // 2]:
        parts[name] = _short(token, digest)
    level = [(f"argument {name}", value) for name, value in arguments.items()]
    for _ in range(DEPTH + 1):
        below: list[tuple[str, Any]] = []
        for path, value in level:
            if len(parts) >= LIMIT:
                return parts
            try:
                parts[path] = _short(encoder.token(value), digest)
            except UnhashableArgumentError:
                continue
            below.extend((path + step, held) for step, held in _inside(value))
        level = below
    return parts


def _short(token: bytes, digest: Digest) -> str:
    # Tokens of small values have them in clear.
    return digest.of(token)[:_DIGEST_BYTES].hex()


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """Give what a value holds, by the step that leads to it."""
    if isinstance(value, dict):
        for key, held in value.items():
            if type(key) in (str, int):
                yield f"[{key!r}]", held
    elif isinstance(value, (list, tuple)) and len(value) <= LIMIT:
        for position, held in enumerate(value):
            yield f"[{position}]", held
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            if hasattr(value, field.name):
                yield f".{field.name}", getattr(value, field.name)
    elif type(value).__name__ == "DataFrame" and len(value.columns) <= LIMIT:
        for name in value.columns:
            if isinstance(name, str):
                yield f"[{name!r}]", value[name]
        if hasattr(value, "index"):
            yield ".index", value.index


def dump(parts: Parts) -> str:
    """Write parts as the text that an entry's header has."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
    return base64.b85encode(zlib.compress(text.encode(), 6)).decode()


def load(text: Any) -> Parts | None:
    """Read parts; None for what is none."""
    try:
        packed = base64.b85decode(text)
        reader = zlib.decompressobj()
        plain = reader.decompress(packed, _MAX_TEXT_BYTES)
        found = json.loads(plain)
    except (ValueError, TypeError, zlib.error):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): str(value) for name, value in found.items()}
