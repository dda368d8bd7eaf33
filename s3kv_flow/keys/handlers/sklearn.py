"""scikit-learn: trees of neighbours, without what they count when they are asked. Others are objects."""

from __future__ import annotations

from typing import Any, Final

from s3kv_flow.keys.token import Encoder

#: Of what a tree pickles: its data, then so many counters, then its metric and weights.
_COUNTERS: Final = slice(7, 11)
_PARTS: Final = 13


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a `KDTree` or a `BallTree`; None for what else scikit-learn made."""
    kind = type(value)
    if not any(base.__name__.startswith("BinaryTree") for base in kind.__mro__):
        return None
    state = list(value.__getstate__())
    if len(state) != _PARTS:
        return None
    del state[_COUNTERS]
    return encoder.record(b"tree of neighbours", kind, state)
