"""NumPy arrays, scalars and dtypes: dtype, shape and the values in C order, whatever the storage."""

from __future__ import annotations

import math
import operator
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.columns import RUN, Told
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import TOLD, Encoder

#: Pieces of a non-contiguous array are copied this large, so that memory stays flat.
PIECE_BYTES: Final = 4 * 1024 * 1024

#: Arrays that are made for their key alone are made so many values at a time.
PIECE_VALUES: Final = 1 << 18

#: Columns that lie across each other are read so many bytes at a time, which the processor's cache
#: holds, unless that were but a few rows.
TILE_BYTES: Final = 256 * 1024
MIN_ROWS: Final = 256

#: Smaller arrays are copied, which takes less time than not to.
SMALL_BYTES: Final = 16 * 1024

_GLOBAL_STATE: Final = np.random.mtrand._rand

#: Tokens of the dtypes that have nothing inside, by the name of the hash.
_dtypes: dict[tuple[np.dtype[Any], str], bytes] = {}


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of anything that NumPy made."""
    kind = type(value)
    if kind is np.ndarray:
        return array(value, encoder)
    if value is np.ma.masked:
        return encoder.node(b"numpy masked constant")
    if isinstance(value, np.ma.MaskedArray):
        return _masked(value, encoder)
    if isinstance(value, np.ndarray):
        plain = array(np.asarray(value), encoder)
        if kind is np.memmap:
            return plain
        held = {name: one for name, one in state_of(value).items() if not name.startswith("_mmap")}
        return encoder.node(b"numpy subclass", encoder.token(kind), plain, encoder.token(held))
    if kind in TOLD:
        told = TOLD[kind]
        return encoder.node(told.head, encoder.token(told.tell(value)))
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return array(_without_payload(np.asarray(value)), encoder, b"numpy scalar")
    if isinstance(value, np.dtype):
        if value.names is None:
            return dtype(value, encoder)
        return encoder.node(b"dtype", dtype(value, encoder), encoder.token(_layout(value)))
    if isinstance(value, np.busdaycalendar):
        return encoder.record(b"numpy calendar", value.weekmask, value.holidays)
    if isinstance(value, np.ufunc):
        return _ufunc(value, encoder)
    if isinstance(value, np.random.Generator):
        drawn = value.bit_generator.state
        return encoder.record(b"numpy generator", type(value), drawn, _seeds(value.bit_generator))
    if value is _GLOBAL_STATE:  # of the process, and changed by whoever draws from it
        return encoder.node(b"numpy global randomstate")
    if isinstance(value, np.random.RandomState):
        return encoder.record(b"numpy randomstate", value.get_state(legacy=False))
    return None


def _is_told(kind: type[np.generic]) -> bool:
    """Whether Python's own numbers hold all values of a scalar type."""
    about = np.dtype(kind)
    # Others put types of their own into NumPy's table, and are imported or not.
    return kind.__module__ == "numpy" and about.kind in "biufc" and _scalar_bytes(about) <= 8


def dtype(value: np.dtype[Any], encoder: Encoder) -> bytes:
    """Give the token of a dtype: names and types of fields count, offsets and padding do not."""
    if value.names is not None:
        fields = [
            encoder.token(name) + dtype(value.fields[name][0], encoder)  # type: ignore[index]
            for name in value.names
        ]
        return encoder.node(b"dtype record", *fields)
    if value.subdtype is not None:
        return encoder.node(
            b"dtype subarray", dtype(value.subdtype[0], encoder), encoder.token(value.subdtype[1])
        )
    text = repr(value) if value.kind == "T" else value.str
    # NumPy has several integers of one size, which are equal.
    name = "" if value.kind in "biufcmM" else type(value).__name__
    return encoder.record(b"dtype", text, name)


def _without_payload(scalar: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give a scalar with the usual NaN for any: what else its bits say does not count."""
    if scalar.dtype.kind not in "fc" or scalar == scalar:
        return scalar
    plain = scalar.copy()
    for part in (plain.real, plain.imag) if plain.dtype.kind == "c" else (plain,):
        part[np.isnan(part)] = np.nan
    return plain


def _layout(value: np.dtype[Any]) -> Any:
    """Give how the fields of a record lie, which a dtype by itself tells though its arrays do not."""
    if value.subdtype is not None:
        return _layout(value.subdtype[0])
    if value.names is None:
        return None
    fields = [value.fields[name] for name in value.names]  # type: ignore[index]
    inside = [(_layout(field[0]), *field[1:]) for field in fields]
    return value.itemsize, value.isalignedstruct, inside


def _seeds(value: np.random.BitGenerator) -> Any:
    """Give what decides of the generators that are spawned."""
    seeds: Any = getattr(value, "seed_seq", getattr(value, "_seed_seq", None))
    if not isinstance(seeds, np.random.SeedSequence):
        return None
    return seeds.entropy, seeds.spawn_key, seeds.pool_size, seeds.n_children_spawned


def _ufunc(value: np.ufunc, encoder: Encoder) -> bytes | None:
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), value.__name__, None) is value:
            return encoder.record(b"numpy ufunc", module, value.__name__)
    raise UnhashableArgumentError(
        "what a ufunc of somebody's own does cannot be seen",
        way_out="Pass the function that it was made from, or leave it out with ignore=(...).",
    )


def array(value: np.ndarray[Any, Any], encoder: Encoder, tag: bytes = b"numpy") -> bytes:
    """Give the token of an array."""
    if value.nbytes <= SMALL_BYTES and is_plain(value):
        return encoder.leaf(tag, _head(value.dtype, value.shape, encoder) + value.tobytes())
    running = encoder.begin(tag)
    running.update(_head(value.dtype, value.shape, encoder))
    _feed(value, encoder, running)
    return encoder.end(running)


def made_of(
    kind: np.dtype[Any],
    shape: tuple[int, ...],
    make: Callable[[slice], np.ndarray[Any, Any]],
    encoder: Encoder,
) -> bytes:
    """Give the token of an array that is made in pieces: ``make`` gives its values from here to there."""
    running = encoder.begin(b"numpy")
    running.update(_head(kind, shape, encoder))
    for at in range(0, math.prod(shape), PIECE_VALUES):
        _feed(make(slice(at, at + PIECE_VALUES)), encoder, running)
    return encoder.end(running)


def as_int64(value: Any, encoder: Encoder) -> bytes:
    """Give the token of integers as wide ones: how wide they are is storage."""
    plain = np.asarray(value).reshape(-1)
    return made_of(
        np.dtype(np.int64), plain.shape, lambda part: plain[part].astype(np.int64), encoder
    )


def without(value: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], encoder: Encoder) -> bytes:
    """Give the token of an array with zeros under its mask: what lies there is storage."""
    if value.dtype.names is not None or value.dtype.hasobject:
        data = np.array(value, copy=True)
        _blank(data, mask)
        return array(data, encoder)
    if not mask.any():
        return array(value, encoder)
    flat, hidden = value.reshape(-1), mask.reshape(-1)

    def make(part: slice) -> np.ndarray[Any, Any]:
        piece = flat[part].copy()
        piece[hidden[part]] = np.zeros((), value.dtype)
        return piece

    return made_of(value.dtype, value.shape, make, encoder)


def _head(kind: np.dtype[Any], shape: tuple[int, ...], encoder: Encoder) -> bytes:
    if kind.kind not in "biufcmM":
        known = dtype(kind, encoder)
    else:
        known = _dtypes.get((kind, encoder.digest.name), b"")
        if not known:
            known = _dtypes[kind, encoder.digest.name] = dtype(kind, encoder)
    return known + struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def is_plain(value: Any) -> bool:
    """Whether it is an array of which each byte counts."""
    if type(value) is not np.ndarray:
        return False
    kind = value.dtype
    return kind.kind in "biuf" and kind.itemsize <= 8


def columns(arrays: Sequence[np.ndarray[Any, Any]], encoder: Encoder) -> list[bytes]:
    """Give the token of each of several plain arrays of one dimension and length.

    Where they lie across each other, as columns do in an array of rows, they are read side by
    side: one by one, each would read all the memory of all.
    """
    heads: dict[np.dtype[Any], bytes] = {}
    running = []
    across = []
    for one in arrays:
        head = heads.get(one.dtype)
        if head is None:
            head = heads[one.dtype] = _head(one.dtype, one.shape, encoder)
        hashed = encoder.begin(b"numpy")
        hashed.update(head)
        if one.flags.c_contiguous:
            hashed.update(one.view(np.uint8).data)
        else:
            across.append((one, hashed))
        running.append(hashed)
    if across:
        size = len(across[0][0])
        rows = max(MIN_ROWS, TILE_BYTES // sum(one.itemsize for one, _ in across))
        for start in range(0, size, rows):
            for one, hashed in across:
                hashed.update(np.ascontiguousarray(one[start : start + rows]).view(np.uint8).data)
    return list(map(encoder.end, running))


def _feed(value: np.ndarray[Any, Any], encoder: Encoder, running: Any) -> None:
    if value.dtype.names is not None:
        for name in value.dtype.names:  # field by field, so that padding is never read
            _feed(value[name], encoder, running)
    elif value.dtype.hasobject or value.dtype.kind == "T":
        running.update(strings_or_objects(value.ravel(), encoder))
    elif value.dtype.kind in "fc" and _scalar_bytes(value.dtype) > 8:
        used = 10 if np.finfo(np.longdouble).nmant == 63 else 16  # 80 bits have 6 bytes of padding
        width = _scalar_bytes(value.dtype)
        for piece in _pieces(value):
            flat = piece.reshape(-1)
            for at in range(0, len(flat), PIECE_VALUES):
                part = flat[at : at + PIECE_VALUES]
                native = part.astype(value.dtype.newbyteorder("="), copy=False)
                parts = native.view(np.uint8).reshape(-1, width)[:, :used]
                running.update(np.ascontiguousarray(parts).data)
    else:
        for piece in _pieces(value):
            if piece.size:
                running.update(piece.reshape(-1).view(np.uint8).data)


def _scalar_bytes(value: np.dtype[Any]) -> int:
    return value.itemsize // (2 if value.kind == "c" else 1)


def _pieces(value: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Give the array's bytes in C order, without a copy where it is contiguous."""
    if value.flags.c_contiguous:
        yield value
    elif value.nbytes <= PIECE_BYTES:
        yield np.ascontiguousarray(value)
    else:
        row_bytes = max(1, value[:1].size * value.dtype.itemsize)
        rows = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, value.shape[0], rows):
            part = value[start : start + rows]
            if row_bytes > 4 * PIECE_BYTES:
                yield from _pieces(part[0])
            else:
                yield np.ascontiguousarray(part)


def strings_or_objects(values: np.ndarray[Any, Any], encoder: Encoder) -> bytes:
    """Give the token of a one-dimensional array of Python objects."""
    size = len(values)
    runs = (values[at : at + RUN].tolist() for at in range(0, size, RUN))
    return encoder.column(b"objects", size, runs)


def _masked(value: np.ma.MaskedArray[Any, Any], encoder: Encoder) -> bytes:
    mask = np.ma.getmaskarray(value)
    kind = type(value)
    held = {name: one for name, one in state_of(value).items() if name not in _OF_MASKED}
    own = b""
    if kind is not np.ma.MaskedArray or held:
        own = encoder.token(kind) + encoder.token(held)
    # Asked for, the usual one would be kept in the array.
    fill = value._fill_value  # type: ignore[attr-defined]
    if fill is None:
        fill = np.array(np.ma.default_fill_value(value.dtype), dtype=value.dtype)
    return encoder.node(
        b"numpy masked",
        own,
        without(np.asarray(value.data), mask, encoder),
        array(mask, encoder),
        encoder.token(fill[()]),
        encoder.token(bool(value.hardmask)),
    )


#: Where masked arrays keep what counts by itself, and what they were made from.
_OF_MASKED: Final = frozenset(
    {
        "_mask",
        "_fill_value",
        "_hardmask",
        "_sharedmask",
        "_isfield",
        "_baseclass",
        "_optinfo",
        "_basedict",
    }
)


def _blank(data: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> None:
    """Put zeros under the mask."""
    if data.dtype.names is None:
        data[mask] = np.zeros((), data.dtype)
    else:
        for name in data.dtype.names:
            _blank(data[name], mask[name])


#: Scalars by their numbers. NumPy has several integers of one size, which are equal.
_item: Final = operator.methodcaller("item")
TOLD.update(
    (kind, Told(b"numpy " + np.dtype(kind).str.encode(), _item))
    for kind in set(np.sctypeDict.values())
    if _is_told(kind)
)
