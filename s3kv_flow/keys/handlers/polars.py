"""Polars frames, series and expressions."""

from __future__ import annotations

import io
import pickle
import re
import sys
from typing import Any, Final

import ormsgpack
import polars as pl
import pyarrow as pa

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.handlers.pyarrow import column
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import Encoder

#: What stands before a serialized plan: it changes with each version of polars.
_VERSION: Final = re.compile(rb"DSL_VERSION.{4}[0-9a-f]{64}", re.DOTALL)
#: What polars' own stream of a frame begins with.
_FRAME: Final = b"\xff\xff\xff\xff"
#: What the pickle of a function begins with: how it was made, the version of Python, and at times a mark.
_PYTHON: Final = re.escape(bytes(sys.version_info[1:3]))
_FUNCTION: Final = re.compile(rb"[\0\1]" + _PYTHON + rb"(?=\x80[\4\5]\x95)")
_MARK: Final = b"PLPY"
#: The same anywhere, also where bytes are written as numbers.
_SOME_FUNCTION: Final = re.compile(_MARK + rb"|" + _PYTHON + rb"(\xcc)?\x80[\4\5]")

#: Under these names is data, whose bytes may be anybody's: they are never taken for a function.
_DATA: Final = frozenset({"Literal", "dataframes", "df", "sources"})
#: Under these are bytes that are no frames either.
_BYTES: Final = frozenset({"Binary", "BinaryOwned", "Buffers"})

#: Texts are made of codes so many at a time.
ROWS: Final = 1 << 18

#: Longer plans are not read, so how the frames inside lie in memory counts there.
LONGEST_READ: Final = 32 << 20


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of anything that polars made."""
    if isinstance(value, pl.DataFrame):
        columns = [_series(one, encoder) for one in value.get_columns()]
        own = _own(value, pl.DataFrame, encoder)
        return encoder.node(b"polars frame", own, encoder.token(value.height), *columns)
    if isinstance(value, pl.Series):
        own = _own(value, pl.Series, encoder)
        return (
            encoder.node(b"polars subclass", own, _series(value, encoder))
            if own
            else _series(value, encoder)
        )
    if isinstance(value, pl.Expr):
        return encoder.node(b"polars expression", _plan(value.meta.serialize(), encoder))
    if isinstance(value, pl.LazyFrame):
        own = _own(value, pl.LazyFrame, encoder)
        return encoder.node(b"polars lazy frame", own, _plan(_serialized(value), encoder))
    if isinstance(value, (pl.DataType, pl.datatypes.DataTypeClass)):
        return encoder.record(b"polars type", _type(value))
    return None


def _own(value: Any, plain: type, encoder: Encoder) -> bytes:
    """Give what a subclass adds."""
    kind = type(value)
    held = {name: one for name, one in state_of(value).items() if name not in _OF_POLARS}
    return b"" if kind is plain else encoder.record(b"own", kind, held)


#: Where polars' classes keep what they wrap, and what they were asked.
_OF_POLARS: Final = frozenset({"_df", "_s", "_ldf", "_accessors", "_cached_arrow_schema"})


def _serialized(value: pl.LazyFrame) -> bytes:
    try:
        return bytes(value.serialize())
    except pl.exceptions.ComputeError as error:
        raise UnhashableArgumentError(
            f"a lazy frame that does not serialize: {error}".splitlines()[0],
            way_out="Pass its collect(), or leave it out with ignore=(...).",
        ) from error


def _plan(serialized: bytes, encoder: Encoder) -> bytes:
    """Give the token of a plan: of the frames inside by value, of functions by their code."""
    if len(serialized) <= LONGEST_READ:
        version = _VERSION.match(serialized)
        try:
            plan = ormsgpack.unpackb(serialized[version.end() if version else 0 :])
        except ValueError:  # another version of polars has another form
            pass
        else:
            return encoder.token(_read(plan))
    if _SOME_FUNCTION.search(serialized):
        raise _without_key()
    return encoder.token(serialized)


def _read(part: Any, name: str = "", *, is_data: bool = False) -> Any:
    """Give a part of a plan with its frames and functions as such."""
    if isinstance(part, dict):
        return {
            one: _read(held, one, is_data=is_data or one in _DATA) for one, held in part.items()
        }
    head = _head(part)
    if is_data and head.startswith(_FRAME) and name not in _BYTES:
        return pl.read_ipc_stream(io.BytesIO(bytes(part)))
    if not is_data and head.startswith(_MARK):
        held = bytes(part)
        found = _FUNCTION.search(held)
        if found is None:
            raise _without_key()
        return held[: found.start()], pickle.loads(held[found.end() :])
    if not is_data and _FUNCTION.match(head):  # polars has just pickled what is in this process
        return pickle.loads(bytes(part[3:]))
    if isinstance(part, list):
        return [_read(one, name, is_data=is_data) for one in part]
    return part


def _head(part: Any) -> bytes:
    """Give the first of some bytes, also where they are numbers; nothing of what else there is."""
    head = part[:8] if isinstance(part, (bytes, list)) else b""
    is_bytes = isinstance(head, bytes) or all(type(one) is int and 0 <= one < 256 for one in head)
    return bytes(head) if is_bytes else b""


def _without_key() -> UnhashableArgumentError:
    return UnhashableArgumentError(
        "what a Python function inside of a polars expression does cannot be seen",
        way_out="Pass the function, and make the expression inside; or leave it out with ignore=(...).",
    )


def _series(value: pl.Series, encoder: Encoder) -> bytes:
    kind = value.dtype
    if kind == pl.Object:
        body = encoder.token(value.to_list())
    elif isinstance(kind, (pl.Categorical, pl.Enum)):
        # The codes of a Categorical depend on what else the process has seen.
        runs = (value.slice(at, ROWS).cast(pl.String) for at in range(0, len(value) or 1, ROWS))
        body = encoder.node(b"texts", *(column(run.to_arrow(), encoder) for run in runs))
    else:
        body = _nested(value, encoder) if "Categorical" in repr(kind) else _column(value, encoder)
    return encoder.node(
        b"polars series", encoder.token(value.name), encoder.token(_type(kind)), body
    )


def _column(value: pl.Series, encoder: Encoder) -> bytes:
    try:
        return column(value.to_arrow(), encoder)
    except pa.ArrowInvalid:  # Arrow has no such type, 128-bit integers for one
        return _nested(value, encoder)


def _nested(value: pl.Series, encoder: Encoder) -> bytes:
    """Give the token of what holds values that Arrow has no type for, level by level."""
    kind = value.dtype
    missing = column(value.is_null().to_arrow(), encoder)
    if isinstance(kind, pl.Struct):
        fields = [_series(value.struct.field(field.name), encoder) for field in kind.fields]
        return encoder.node(b"fields", missing, *fields)
    if isinstance(kind, pl.List):
        lengths = column(value.list.len().to_arrow(), encoder)
        return encoder.node(b"lists", missing, lengths, _series(value.explode(), encoder))
    if isinstance(kind, pl.Array):
        return encoder.node(b"arrays", missing, _series(value.explode(), encoder))
    return encoder.token(value.to_list())


def _type(kind: Any) -> str:
    categories = str(kind.categories.to_list()) if isinstance(kind, pl.Enum) else ""
    return repr(kind) + categories
