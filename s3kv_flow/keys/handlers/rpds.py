"""rpds: maps and sets that are never changed, as `jsonschema` has them; what they pickle is in no order."""

from __future__ import annotations

from typing import Any

import rpds

from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a map or a set; None for lists and the like, which count as all objects do."""
    if isinstance(value, rpds.HashTrieMap):
        return encoder.mapping(b"trie map", value.items())
    if isinstance(value, rpds.HashTrieSet):
        return encoder.unordered(b"trie set", value)
    return None
