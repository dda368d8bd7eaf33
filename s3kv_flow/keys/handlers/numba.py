"""Numba: what it compiles counts by the function, and by how it is to be compiled."""

from __future__ import annotations

from typing import Any

from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a compiled function; None for what else Numba made."""
    made_by = getattr(value, "_dispatcher", None) or getattr(value, "gufunc_builder", None) or value
    function = getattr(made_by, "py_func", None) or getattr(made_by, "_pyfunc", None)
    if function is None:
        return None
    options = dict(getattr(made_by, "targetoptions", {}))
    signature = getattr(value, "signature", None) or str(getattr(value, "_sig", ""))
    return encoder.record(b"compiled", type(value).__name__, function, options, signature)
