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
#: What stands before the pickle of a function: at times a mark, and always the version of Python.
_MARK: Final = b"PLPY"
_PYTHON: Final = bytes(sys.version_info[1:3])
_FUNCTION: Final = re.compile(
    re.escape(_PYTHON) + rb"(\x80[\x04\x05]\x95|\xcc\x80[\x04\x05]\xcc\x95)"
)

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
    if _FUNCTION.search(serialized) or _MARK in serialized:
        raise _without_key()
    return encoder.token(serialized)


def _read(part: Any) -> Any:
    """Give a part of a plan with its frames and functions as such."""
    if isinstance(part, dict):
        return {name: _read(one) for name, one in part.items()}
    if isinstance(part, list):
        if not _holds_bytes(part):
            return [_read(one) for one in part]
        part = bytes(part)
    if not isinstance(part, bytes):
        return part
    if part.startswith(_FRAME):
        return pl.read_ipc_stream(io.BytesIO(part))
    found = _FUNCTION.search(part)
    if found is not None:  # polars has made the pickle a moment ago, of what is in this process
        return part[: found.start()], pickle.loads(part[found.start() + len(_PYTHON) :])
    if part.startswith(_MARK):
        raise _without_key()
    return part


def _holds_bytes(part: list[Any]) -> bool:
    """Whether it is numbers that were bytes."""
    head = part[:4]
    return head in (list(_FRAME), list(_MARK)) or head[1:] == [*_PYTHON, 0x80]


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
