"""Arrow data: types, schema and values; chunks, slices, offsets and bytes under nulls do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter, methodcaller
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s3kv_flow.keys.token import Encoder

#: A piece has no more rows, and on the average no more bytes.
ROWS: Final = 1 << 18
PIECE_BYTES: Final = 4 * 1024 * 1024


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of anything that pyarrow made."""
    if isinstance(value, (pa.Table, pa.RecordBatch)):
        return _table(value, encoder)
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return column(value, encoder)
    if isinstance(value, pa.Scalar):
        return encoder.node(b"arrow scalar", column(_alone(value), encoder))
    if isinstance(value, pa.Schema):
        return encoder.node(b"arrow schema", *_schema(value, encoder))
    if isinstance(value, pa.Field):
        return encoder.node(b"arrow field", _field(value, encoder))
    if isinstance(value, pa.DataType):
        return encoder.node(b"arrow type", _type(value, encoder))
    if isinstance(value, pa.Tensor):
        return encoder.record(b"arrow tensor", value.to_numpy(), list(value.dim_names))
    if isinstance(value, pc.FunctionOptions):
        return encoder.record(b"arrow options", value.serialize().to_pybytes())
    return None


def _alone(scalar: pa.Scalar) -> pa.Array:
    """Give an array of one scalar."""
    if isinstance(scalar, pa.ExtensionScalar):
        held = scalar.value
        inside = pa.nulls(1, scalar.type.storage_type) if held is None else _alone(held)
        return pa.ExtensionArray.from_storage(scalar.type, inside)
    return pa.repeat(scalar, 1)


def _table(value: Any, encoder: Encoder) -> bytes:
    columns = [column(one, encoder) for one in value.columns]
    rows = encoder.token(value.num_rows)
    kind = encoder.token(type(value).__name__)
    return encoder.node(b"arrow table", kind, *_schema(value.schema, encoder), rows, *columns)


def _schema(schema: pa.Schema, encoder: Encoder) -> list[bytes]:
    fields = [_field(field, encoder) for field in schema]
    return [*fields, encoder.token(dict(schema.metadata or {}))]


def _field(field: Any, encoder: Encoder) -> bytes:
    about = encoder.record(b"about", field.name, field.nullable, dict(field.metadata or {}))
    return encoder.node(b"field", about, _type(field.type, encoder))


def _type(kind: Any, encoder: Encoder) -> bytes:
    if isinstance(kind, pa.ExtensionType):
        stated = kind.__arrow_ext_serialize__()
        about = encoder.record(b"about", kind.extension_name, stated)
        return encoder.node(b"extension", about, _type(kind.storage_type, encoder))
    if pa.types.is_dictionary(kind):
        parts = _type(kind.index_type, encoder), _type(kind.value_type, encoder)
        return encoder.node(b"dictionary", *parts, encoder.token(kind.ordered))
    fields = (_field(kind.field(place), encoder) for place in range(kind.num_fields))
    return encoder.node(b"type", encoder.token(str(kind)), *fields)


def column(value: Any, encoder: Encoder) -> bytes:
    """Give the token of an array, which is the same in whatever chunks it lies."""
    return _column(value if isinstance(value, pa.ChunkedArray) else _chunked([value]), encoder)


def _chunked(chunks: list[Any], kind: Any = None) -> Any:
    return pa.chunked_array(chunks, chunks[0].type if kind is None else kind)


def _pieces(value: Any) -> Iterator[Any]:
    """Give an array piece by piece, so that what is copied of one takes little memory."""
    size, kind = len(value), value.type
    if _is_fixed_width(kind):
        width = kind.bit_width // 8
    else:  # what lies in one chunk is not copied to be one
        width = value.nbytes // size if size and value.num_chunks > 1 else 1
    rows = max(1, min(ROWS, PIECE_BYTES // max(1, width)))
    if value.num_chunks == 1 and size <= rows:
        yield value.chunk(0)
        return
    for at in range(0, size, rows):
        piece = value.slice(at, rows)
        yield piece.chunk(0) if piece.num_chunks == 1 else pa.concat_arrays(piece.chunks)


def _column(value: Any, encoder: Encoder) -> bytes:
    kind = value.type
    running = encoder.begin(b"arrow")
    running.update(_type(kind, encoder) + encoder.token(len(value)))
    if pa.types.is_null(kind):
        return encoder.end(running)
    if isinstance(kind, pa.ExtensionType):
        stored = [chunk.storage for chunk in value.chunks]
        running.update(_column(_chunked(stored, kind.storage_type), encoder))
        return encoder.end(running)
    if value.null_count:
        running.update(b"m")
        for piece in _pieces(value):
            running.update(_missing(piece).view(np.uint8).data)
    else:
        running.update(b"-")
    _feed(value, encoder, running)
    return encoder.end(running)


def _missing(piece: Any) -> Any:
    return piece.is_null().to_numpy(zero_copy_only=False)


def _feed(value: Any, encoder: Encoder, running: Any) -> None:
    kind = value.type
    types = pa.types

    def feed_each(kind: Any, give: Callable[[Any], Any]) -> None:
        running.update(_column(_chunked(list(map(give, value.chunks)), kind), encoder))

    if types.is_dictionary(kind):
        if value.num_chunks > 1:
            value = _with_one_dictionary(value)
        known = value.chunk(0).dictionary if value.num_chunks else pa.array([], kind.value_type)
        running.update(encoder.token(kind.ordered))
        feed_each(kind.index_type, attrgetter("indices"))
        running.update(column(known, encoder))
    elif types.is_boolean(kind):
        for piece in _pieces(value):
            known = piece.fill_null(False).to_numpy(zero_copy_only=False)
            running.update(known.view(np.uint8).data)
    elif _is_fixed_width(kind):
        for piece in _pieces(value):
            running.update(_fixed_width(piece))
    elif _is_variable_width(kind):
        _feed_variable_width(value, running)
    elif types.is_map(kind):
        pairs = pa.list_(pa.struct([kind.key_field, kind.item_field]))
        feed_each(pairs, methodcaller("cast", pairs))
    elif any(is_list(kind) for is_list in _LISTS):
        for piece in _pieces(value):
            lengths = pc.list_value_length(piece).fill_null(0).cast(pa.int64())
            running.update(np.ascontiguousarray(lengths.to_numpy(zero_copy_only=False)).data)
        feed_each(kind.value_type, methodcaller("flatten"))
    elif types.is_struct(kind):
        children = [chunk.flatten() for chunk in value.chunks]
        for place in range(kind.num_fields):
            held = [child[place] for child in children]
            running.update(_column(_chunked(held, kind.field(place).type), encoder))
    elif types.is_string_view(kind):
        running.update(_column(value.cast(pa.large_string()), encoder))
    elif types.is_binary_view(kind):
        running.update(_column(value.cast(pa.large_binary()), encoder))
    elif types.is_run_end_encoded(kind):
        feed_each(kind.value_type, pc.run_end_decode)
    elif types.is_union(kind):  # which of its types a value has, and then those of each
        feed_each(pa.int8(), lambda chunk: pa.array(_type_codes(chunk)))
        for place in range(kind.num_fields):
            held = [_of_type(chunk, place) for chunk in value.chunks]
            running.update(_column(_chunked(held, kind.field(place).type), encoder))
    else:
        running.update(encoder.token(value.to_pylist()))


def _with_one_dictionary(value: Any) -> Any:
    try:
        return value.unify_dictionaries()
    except pa.ArrowNotImplementedError:  # of structures and lists
        return _chunked([pa.concat_arrays(value.chunks)])


_LISTS: Final = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)


def _type_codes(chunk: Any) -> Any:
    # What pyarrow itself gives for a slice is that of the first values.
    return np.frombuffer(chunk.buffers()[1], np.int8, len(chunk), chunk.offset)


def _of_type(chunk: Any, place: int) -> Any:
    """Give the values of a union that are of one of its types."""
    chosen = _type_codes(chunk) == chunk.type.type_codes[place]
    if chunk.type.mode == "sparse":
        return chunk.field(place).filter(pa.array(chosen))
    offsets = np.frombuffer(chunk.buffers()[2], np.int32, len(chunk), 4 * chunk.offset)
    return chunk.field(place).take(pa.array(offsets[chosen]))


def _is_fixed_width(kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return False
    try:
        return bool(kind.bit_width % 8 == 0)
    except ValueError:
        return False


def _fixed_width(piece: Any) -> Any:
    width = piece.type.bit_width // 8
    buffer = piece.buffers()[1]
    if not len(piece) or buffer is None or not width:
        return b""
    data = np.frombuffer(buffer, np.uint8, len(piece) * width, piece.offset * width)
    if piece.null_count:
        data = data.reshape(len(piece), width).copy()
        data[_missing(piece)] = 0
    return data.reshape(-1).data


def _is_variable_width(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _feed_variable_width(value: Any, running: Any) -> None:
    """Feed how long each value is, and then all of them; those that are missing are left out."""
    sizes = []
    for piece in _pieces(value):
        lengths = np.diff(_offsets(piece)).astype(np.int64)
        if piece.null_count:
            lengths = lengths[~_missing(piece)]
        running.update(lengths.data)
        sizes.append(int(lengths.sum()))
    for piece, size in zip(_pieces(value), sizes):
        offsets = _offsets(piece)
        if size < int(offsets[-1] - offsets[0]):
            present = piece.drop_null()
            offsets = _offsets(present)
        else:
            present = piece
        text = present.buffers()[2]
        if text is not None:
            running.update(memoryview(text)[int(offsets[0]) : int(offsets[-1])])


def _offsets(piece: Any) -> Any:
    buffer = piece.buffers()[1]
    if buffer is None or not len(piece):
        return np.zeros(1, np.int64)
    large = pa.types.is_large_string(piece.type) or pa.types.is_large_binary(piece.type)
    kind = np.dtype(np.int64 if large else np.int32)
    return np.frombuffer(buffer, kind, len(piece) + 1, piece.offset * kind.itemsize)
