"""Arrow data: types, schema and values; chunks, slices, offsets and bytes under nulls do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s3kv_flow.keys.token import Encoder


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
    """Give the token of an array, as if it were in one chunk."""
    if isinstance(value, pa.ChunkedArray):
        if pa.types.is_dictionary(value.type):
            value = value.unify_dictionaries()
        if value.num_chunks == 1:
            value = value.chunk(0)
        else:
            value = value.combine_chunks()
            if isinstance(value, pa.ChunkedArray):
                value = value.chunk(0) if value.num_chunks else pa.array([], value.type)
    return _array(value, encoder)


def _array(value: Any, encoder: Encoder) -> bytes:
    kind = value.type
    running = encoder.begin(b"arrow")
    running.update(_type(kind, encoder) + encoder.token(len(value)))
    if pa.types.is_null(kind):
        return encoder.end(running)
    if isinstance(value, pa.ExtensionArray):
        running.update(_array(value.storage, encoder))
        return encoder.end(running)
    missing = None
    if value.null_count:
        missing = value.is_null().to_numpy(zero_copy_only=False)
        running.update(b"m" + np.packbits(missing).tobytes())
    else:
        running.update(b"-")
    _feed(value, missing, encoder, running)
    return encoder.end(running)


def _feed(value: Any, missing: Any, encoder: Encoder, running: Any) -> None:
    kind = value.type
    types = pa.types
    if types.is_dictionary(kind):
        running.update(encoder.token(kind.ordered))
        running.update(_array(value.indices, encoder))
        running.update(_array(value.dictionary, encoder))
    elif types.is_boolean(kind):
        running.update(np.packbits(value.fill_null(False).to_numpy(zero_copy_only=False)).data)
    elif _is_fixed_width(kind):
        running.update(_fixed_width(value, missing))
    elif _is_variable_width(kind):
        _feed_variable_width(value.drop_null() if missing is not None else value, running)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(value).fill_null(0).cast(pa.int64())
        running.update(np.ascontiguousarray(lengths.to_numpy(zero_copy_only=False)).data)
        running.update(_array(value.flatten(), encoder))
    elif types.is_struct(kind):
        for child in value.flatten():
            running.update(_array(child, encoder))
    elif types.is_string_view(kind):
        running.update(_array(value.cast(pa.large_string()), encoder))
    elif types.is_binary_view(kind):
        running.update(_array(value.cast(pa.large_binary()), encoder))
    else:
        if types.is_union(kind):  # which of its types a value has
            running.update(_array(value.type_codes, encoder))
        running.update(encoder.token(value.to_pylist()))


def _is_fixed_width(kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return False
    try:
        return bool(kind.bit_width % 8 == 0)
    except ValueError:
        return False


def _fixed_width(value: Any, missing: Any) -> Any:
    width = value.type.bit_width // 8
    buffer = value.buffers()[1]
    if not len(value) or buffer is None or not width:
        return b""
    data = np.frombuffer(buffer, np.uint8, len(value) * width, value.offset * width)
    if missing is not None:
        data = data.reshape(len(value), width).copy()
        data[missing] = 0
    return np.ascontiguousarray(data).reshape(-1).data


def _is_variable_width(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _feed_variable_width(value: Any, running: Any) -> None:
    if not len(value):
        return
    large = pa.types.is_large_string(value.type) or pa.types.is_large_binary(value.type)
    offset_type = np.dtype(np.int64 if large else np.int32)
    buffers = value.buffers()
    offsets = np.frombuffer(
        buffers[1], offset_type, len(value) + 1, value.offset * offset_type.itemsize
    )
    running.update(np.diff(offsets).astype(np.int64).data)
    if buffers[2] is not None:
        running.update(memoryview(buffers[2])[int(offsets[0]) : int(offsets[-1])])
