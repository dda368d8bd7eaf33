"""Polars frames, series and expressions."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from s3kv_flow.keys.handlers.pyarrow import column
from s3kv_flow.keys.token import Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of anything that polars made."""
    if isinstance(value, pl.DataFrame):
        own = b"" if type(value) is pl.DataFrame else encoder.token(type(value))
        columns = [_series(one, encoder) for one in value.get_columns()]
        return encoder.node(b"polars frame", own, encoder.token(value.height), *columns)
    if isinstance(value, pl.Series):
        return _series(value, encoder)
    if isinstance(value, pl.Expr):
        return encoder.record(b"polars expression", value.meta.serialize())
    if isinstance(value, pl.LazyFrame):
        return encoder.record(b"polars lazy frame", value.serialize())
    if isinstance(value, (pl.DataType, pl.datatypes.DataTypeClass)):
        return encoder.record(b"polars type", _type(value))
    return None


def _series(value: pl.Series, encoder: Encoder) -> bytes:
    kind = value.dtype
    if kind == pl.Object:
        body = encoder.token(value.to_list())
    elif isinstance(kind, (pl.Categorical, pl.Enum)):
        # The codes of a Categorical depend on what else the process has seen.
        body = column(value.cast(pl.String).to_arrow(), encoder)
    elif "Categorical" in repr(kind):
        body = encoder.token(value.to_list())
    else:
        body = _column(value, encoder)
    return encoder.node(
        b"polars series", encoder.token(value.name), encoder.token(_type(kind)), body
    )


def _column(value: pl.Series, encoder: Encoder) -> bytes:
    try:
        return column(value.to_arrow(), encoder)
    except pa.ArrowInvalid:  # Arrow has no such type, 128-bit integers for one
        return encoder.token(value.to_list())


def _type(kind: Any) -> str:
    categories = str(kind.categories.to_list()) if isinstance(kind, pl.Enum) else ""
    return repr(kind) + categories
