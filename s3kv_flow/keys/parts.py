"""What a key is made of, by name: digests only, kept beside an entry to tell later what differs.

No value is kept. But names are in the clear, those of dict keys and columns among them, also in
sealed entries; and who can read the bucket and guesses an argument can check the guess.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.digest import SCHEME, Digest
from s3kv_flow.keys.token import Encoder

#: Names are followed this deep into an argument.
DEPTH: Final = 3
#: No more names than this.
LIMIT: Final = 200
CODE_LIMIT: Final = LIMIT // 2
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
    # Of many those that are the same however many others there are.
    chosen = set(sorted(code, key=lambda name: digest.of(name.encode()))[:CODE_LIMIT])
    parts |= {name: _short(token, digest) for name, token in code.items() if name in chosen}
    level = [(f"argument {name}", value) for name, value in arguments.items()]
    for _ in range(DEPTH + 1):
        below: list[tuple[str, Any]] = []
        for path, value in level:
            try:
                parts[path] = _short(encoder.token(value), digest)
            except UnhashableArgumentError:
                continue
            # All that a value holds or nothing of it: what was cut would look like a difference.
            inside = _inside(value) if len(below) < LIMIT - len(parts) else {}
            if len(inside) <= LIMIT - len(parts) - len(below):
                below.extend((path + step, held) for step, held in inside.items())
        level = below
    return parts


def _short(token: bytes, digest: Digest) -> str:
    # Tokens of small values have them in clear.
    return digest.of(token)[:_DIGEST_BYTES].hex()


def _inside(value: Any) -> dict[str, Any]:
    """Give what a value holds, by the step that leads to it; nothing where that is much."""
    kind = type(value)
    if kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] in ("pandas", "polars"):
        return _columns(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {f".{name}": getattr(value, name) for name in names if hasattr(value, name)}
    if not isinstance(value, (dict, list, tuple)) or len(value) > LIMIT:
        return {}
    if isinstance(value, dict):
        return {f"[{key!r}]": held for key, held in value.items() if type(key) in (str, int)}
    return {f"[{position}]": held for position, held in enumerate(value)}


def _columns(frame: Any) -> dict[str, Any]:
    names = [str(name) for name in frame.columns]
    if len(names) > LIMIT or len(set(names)) < len(names):
        return {}
    if not hasattr(frame, "index"):  # polars
        return {f"[{name!r}]": frame[name] for name in names}
    # As arrays: a column by itself would differ wherever the index does.
    columns = {f"[{name!r}]": frame.iloc[:, place].array for place, name in enumerate(names)}
    return {**columns, ".index": frame.index, ".attrs": frame.attrs}


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
