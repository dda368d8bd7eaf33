"""Arrow and Polars tables as Arrow IPC."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from s3kv_flow.codecs.base import Encoded


class ArrowCodec:
    """`pyarrow` tables, record batches, arrays and chunked arrays."""

    name = "arrow"
    safe = True
    aliases = False  # what it aliases cannot be written through

    def encode(self, value: Any) -> Encoded | None:
        import pyarrow as pa

        if type(value) is pa.Table:
            kind, table = "table", value
        elif type(value) is pa.RecordBatch:
            kind, table = "batch", pa.Table.from_batches([value])
        elif type(value) is pa.ChunkedArray:
            kind, table = "chunked", pa.table({"": value})
        elif isinstance(value, pa.Array) and not isinstance(value, pa.ExtensionArray):
            kind, table = "array", pa.table({"": value})
        else:
            return None
        try:
            table.validate(full=True)  # what a view or `safe=False` made can be no value at all
        except pa.ArrowException:
            return None
        data = ipc_bytes(table)
        back = pa.ipc.open_stream(data).schema
        if not back.equals(table.schema, check_metadata=True):
            return None
        return Encoded([memoryview(data)], {"kind": kind})

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        import pyarrow as pa

        (data,) = buffers
        table = read_table(data)
        kind = arguments["kind"]
        if kind == "table":
            return table
        if kind == "batch":
            batches = table.combine_chunks().to_batches()
            return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
        if kind == "chunked":
            return table.column(0)
        return single_array(table)


class PolarsCodec:
    """`polars` data frames and series without Python objects."""

    name = "polars"
    safe = True
    aliases = False

    def encode(self, value: Any) -> Encoded | None:
        import polars as pl

        if type(value) is pl.DataFrame:
            kind, frame = "frame", value
        elif type(value) is pl.Series:
            kind, frame = "series", value.to_frame()
        else:
            return None
        if any(
            kind.contains_objects() if hasattr(kind, "contains_objects") else kind == pl.Object
            for kind in frame.dtypes
        ):
            return None
        file = io.BytesIO()
        try:
            frame.write_ipc(file)
        except pl.exceptions.PolarsError:
            return None
        if not frame.width and frame.height:
            return None
        data = file.getbuffer()
        if pl.read_ipc_schema(io.BytesIO(data)) != dict(frame.schema):
            return None
        # Arrow has no place for what Polars knows of a column's order, and joins and groups go by it.
        arguments: dict[str, Any] = {"kind": kind}
        ordered = {
            str(position): bool(column.flags["SORTED_DESC"])
            for position, column in enumerate(frame.get_columns())
            if column.flags["SORTED_ASC"] or column.flags["SORTED_DESC"]
        }
        if ordered:
            arguments["sorted"] = ordered
        return Encoded([data], arguments)

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        import polars as pl

        (data,) = buffers
        try:
            frame = pl.read_ipc(io.BytesIO(data))
        except pl.exceptions.PanicException as panic:  # no Exception, and no one expects it
            raise ValueError(f"Polars cannot read it: {panic}") from None
        columns = frame.get_columns()
        for position, descending in arguments.get("sorted", {}).items():
            column = columns[int(position)].set_sorted(descending=bool(descending))
            frame = frame.replace_column(int(position), column)
        return frame if arguments["kind"] == "frame" else frame.to_series(0)


def ipc_bytes(table: Any) -> Any:
    """Write a table as an Arrow IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_table(data: memoryview) -> Any:
    """Read an Arrow IPC stream, and check all of it: reading alone trusts offsets into memory."""
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    table.validate(full=True)
    return table


def single_array(table: Any) -> Any:
    """Give the one column of a table as one contiguous array."""
    import pyarrow as pa

    column = table.column(0)
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    joined = column.combine_chunks()
    return joined if isinstance(joined, pa.Array) else joined.chunk(0)
