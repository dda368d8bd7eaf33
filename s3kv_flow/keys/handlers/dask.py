"""dask: what `dask.delayed` made of a function or a value; collections count as all objects do."""

from __future__ import annotations

import sys
from typing import Any

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a delayed function or value; None for what else dask made."""
    delayed = sys.modules.get("dask.delayed")
    if delayed is None or not isinstance(value, delayed.Delayed):
        return None
    if type(value) is delayed.DelayedLeaf:
        return encoder.record(b"delayed", value._obj, value._pure, value._nout)
    raise UnhashableArgumentError(
        "a delayed call has a random name", way_out="Pass its compute(), or what it is made of."
    )
