"""wrapt: what its decorators made counts by what it wraps, and by what is called in its place."""

from __future__ import annotations

from typing import Any

from s3kv_flow.keys.source import is_user_module
from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a proxy; None for what else wrapt made."""
    if not any(base.__name__ == "ObjectProxy" for base in type(value).__mro__):
        return None
    # Attributes of a proxy are those of what it wraps, but for its own.
    told = {
        name: getattr(value, f"_self_{name}", None) for name in ("wrapper", "enabled", "instance")
    }
    kind = type(value)
    own = kind if is_user_module(kind.__module__) else kind.__name__
    return encoder.record(b"proxy", own, value.__wrapped__, told)
