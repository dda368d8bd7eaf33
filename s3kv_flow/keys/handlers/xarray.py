"""xarray: datasets, arrays and variables, whether or not somebody has looked at their attributes."""

from __future__ import annotations

from typing import Any, Final

from s3kv_flow.keys.handlers.objects import attributes
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import Encoder

#: Nothing until they are read, and then empty.
_MADE_WHEN_READ: Final = ("_attrs", "_encoding")
#: Accessors, and how to close the file.
_OF_THIS_PROCESS: Final = ("_cache", "_close")


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of what has attributes; None for what else xarray made."""
    held = state_of(value)
    if "_attrs" not in held:
        return None
    for name in _MADE_WHEN_READ:
        if not held.get(name):
            held.pop(name, None)
    for name in _OF_THIS_PROCESS:
        held.pop(name, None)
    return encoder.node(b"xarray", encoder.token(type(value)), attributes(held, encoder))
