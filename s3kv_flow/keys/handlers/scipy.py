"""SciPy: sparse matrices by format, shape, dtype and values, not the order they lie in; distributions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from s3kv_flow.keys.handlers.numpy import array, as_int64
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a sparse matrix or array; None for what else SciPy made."""
    if not sparse.issparse(value):
        return _tree(value, encoder) or _distribution(value, encoder)
    about = encoder.record(
        b"sparse",
        type(value).__name__ if type(value).__module__.startswith("scipy.") else type(value),
        value.format,
        tuple(map(int, value.shape)),
        np.dtype(value.dtype),
    )
    places, data = _parts(value)
    return encoder.node(
        b"scipy", about, *(as_int64(part, encoder) for part in places), array(data, encoder)
    )


def _tree(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a tree of neighbours: its nodes, as it pickles them, have addresses in them."""
    kind = type(value)
    if not any(base.__name__ == "cKDTree" for base in kind.__mro__):
        return None
    return encoder.record(b"kd tree", kind, value.data, value.leafsize, value.boxsize)


def _distribution(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of a distribution of `scipy.stats`, without the random state that it draws from."""
    classes = sys.modules.get("scipy.stats._distn_infrastructure")
    if classes is None:
        return None
    if isinstance(value, classes.rv_frozen):
        return encoder.record(b"frozen distribution", value.dist, value.args, value.kwds)
    if isinstance(value, classes.rv_generic):
        made_with = {**value._updated_ctor_param(), "seed": None}
        return encoder.record(b"distribution", type(value), made_with)
    several = sys.modules.get("scipy.stats._multivariate")
    if several is not None and isinstance(value, several.multi_rv_generic):
        own = getattr(value, "_random_state", None)
        return encoder.record(b"distributions", type(value), own)
    if several is not None and isinstance(value, several.multi_rv_frozen):
        return encoder.record(b"frozen distributions", type(value), state_of(value))
    return None


def _parts(value: Any) -> tuple[Sequence[Any], Any]:
    """Give where the values of a matrix are, and the values."""
    if value.format in ("csr", "csc", "bsr"):
        # Asking for canonical form notes the answer in the matrix: ask a copy that shares the data.
        shown = type(value)((value.data, value.indices, value.indptr), shape=value.shape)
        if not shown.has_canonical_format:
            shown = value.copy()
            shown.sum_duplicates()
        return (shown.indptr, shown.indices), shown.data
    if value.format == "dia":
        order = np.argsort(value.offsets, kind="stable")
        rows, columns = value.shape
        data, offsets = value.data[order, :columns], value.offsets[order]
        data = np.pad(data, ((0, 0), (0, columns - data.shape[1])))
        places = np.arange(data.shape[1])
        for diagonal, offset in zip(data, offsets):  # what lies outside of the matrix is storage
            diagonal[(places < offset) | (places >= min(columns, rows + offset))] = 0
        return (offsets,), data
    triples = value.tocoo(copy=True)
    triples.sum_duplicates()
    return triples.coords, triples.data
