"""pandas frames, series, indexes and scalars: values, dtypes, labels, order and attrs; no blocks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from s3kv_flow.keys.handlers import numpy as numpy_keys
from s3kv_flow.keys.handlers.objects import by_reduce
from s3kv_flow.keys.token import Encoder

#: The values of an index of several levels are made so many at a time.
ROWS: Final = 1 << 20


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of anything that pandas made."""
    if isinstance(value, pd.DataFrame):
        return _frame(value, encoder)
    if isinstance(value, pd.Series):
        return _series(value, encoder)
    if isinstance(value, pd.Index):
        return _index(value, encoder)
    if value is pd.NaT:
        return encoder.node(b"pandas NaT")
    if value is pd.NA:
        return encoder.node(b"pandas NA")
    if isinstance(value, pd.Timestamp):
        since = int(value.asm8.view("i8"))
        return encoder.record(b"timestamp", since, value.unit, value.tzinfo, value.fold)
    if isinstance(value, pd.Timedelta):
        return encoder.record(b"pandas timedelta", int(value.asm8.view("i8")), value.unit)
    if isinstance(value, pd.Period):
        return encoder.record(b"period", value.ordinal, value.freq)
    if isinstance(value, pd.Interval):
        return encoder.record(b"interval", value.left, value.right, value.closed)
    if isinstance(value, pd.offsets.BaseOffset):
        return _offset(value, encoder)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return encoder.node(b"pandas array", _array(value, encoder))
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        return encoder.node(b"pandas dtype", _dtype(value, encoder))
    return None


def _offset(value: Any, encoder: Encoder) -> bytes:
    stated = dict(value.kwds)
    calendar = stated.pop("calendar", None)  # NumPy's, made of these two
    if calendar is not None:
        stated |= {"holidays": calendar.holidays, "weekmask": calendar.weekmask}
    kind = type(value)
    name = kind.__name__ if _is_of_pandas(value) else kind
    return encoder.record(b"offset", name, value.n, value.normalize, stated)


def _own(value: Any, plain: type, encoder: Encoder) -> bytes:
    """Give what a subclass adds: itself, and what it says that its values carry along."""
    # pandas' own by a fixed tag: pandas 3 moved them to another module.
    kind = type(value)
    if kind is plain:
        return b""
    carried = {name: getattr(value, name, None) for name in value._metadata if name != "_name"}
    return encoder.record(b"own", kind, carried)


def _frame(frame: Any, encoder: Encoder) -> bytes:
    own = _own(frame, pd.DataFrame, encoder)
    columns: list[bytes] = []
    for is_plain, arrays in groupby(_column_arrays(frame), numpy_keys.is_plain):
        if is_plain:
            columns += numpy_keys.columns(list(arrays), encoder)
        else:
            columns += [_array(array, encoder) for array in arrays]
    return encoder.node(
        b"frame",
        own,
        _index(frame.columns, encoder),
        _index(frame.index, encoder),
        encoder.token(dict(frame.attrs)),
        encoder.token(frame.flags.allows_duplicate_labels),
        *columns,
    )


def _column_arrays(frame: Any) -> Iterable[Any]:
    """Give the columns as they are stored: ten times as fast without a Series for each."""
    try:
        return frame._iter_column_arrays()  # type: ignore[no-any-return]
    except AttributeError:  # it is pandas' own
        return (frame.iloc[:, place].array for place in range(frame.shape[1]))


def _series(series: Any, encoder: Encoder) -> bytes:
    own = _own(series, pd.Series, encoder)
    return encoder.node(
        b"series",
        own,
        encoder.token(series.name),
        _index(series.index, encoder),
        encoder.token(dict(series.attrs)),
        encoder.token(series.flags.allows_duplicate_labels),
        _array(series.array, encoder),
    )


#: The dtype that pandas 3 gives to text by itself.
_DEFAULT_TEXT: Final = "<StringDtype(na_value=nan)>"


def _index(index: Any, encoder: Encoder) -> bytes:
    names = encoder.token(list(index.names))
    if isinstance(index, pd.RangeIndex):
        size = len(index)
        bounds = (size, index.start if size else 0, index.step if size > 1 else 1)
        return encoder.node(b"range index", names, *map(encoder.token, bounds))
    if isinstance(index, pd.MultiIndex):
        runs = [index[at : at + ROWS] for at in range(0, len(index) or 1, ROWS)]
        levels = [
            _index_values(run._get_level_values(level), encoder)
            for level in range(index.nlevels)
            for run in runs
        ]
        return encoder.node(b"multi index", names, *levels)
    labels = _index_values(index, encoder)
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):  # by which it is shifted
        return encoder.node(b"steps", names, labels, encoder.token(index.freq))
    return encoder.node(b"index", names, labels)


def _categories(index: Any, encoder: Encoder) -> bytes:
    """Give the token of categories: pandas takes them for the same whatever name and steps they have."""
    if isinstance(index, pd.RangeIndex):
        index = pd.Index(index.to_numpy())
    return _index_values(index, encoder)


def _index_values(index: Any, encoder: Encoder) -> bytes:
    if index.dtype == object or repr(index.dtype) == _DEFAULT_TEXT:
        # Labels of text are object in pandas 2 and str in pandas 3: the same labels.
        return encoder.sequence(b"labels", index.tolist())
    return _array(index.array, encoder)


def _array(array: Any, encoder: Encoder) -> bytes:
    kind = array.dtype
    if isinstance(array, np.ndarray):
        return numpy_keys.array(array, encoder)
    if type(array) is pd.arrays.NumpyExtensionArray:
        return numpy_keys.array(array.to_numpy(), encoder)
    if isinstance(array, pd.Categorical):
        return encoder.node(
            b"categorical",
            encoder.token(array.ordered),
            _categories(array.categories, encoder),
            numpy_keys.as_int64(array.codes, encoder),
        )
    dtype = _dtype(kind, encoder)
    if hasattr(array, "_pa_array"):
        from s3kv_flow.keys.handlers.pyarrow import column

        return encoder.node(b"arrow backed", dtype, column(array._pa_array, encoder))
    if hasattr(array, "_mask") and hasattr(array, "_data"):
        return encoder.node(
            b"nullable",
            dtype,
            numpy_keys.without(array._data, array._mask, encoder),
            numpy_keys.array(array._mask, encoder),
        )
    if isinstance(
        array, (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray)
    ):
        return encoder.node(b"instants", dtype, numpy_keys.array(array.asi8, encoder))
    if isinstance(array, pd.arrays.IntervalArray):
        left, right = _index(array.left, encoder), _index(array.right, encoder)
        return encoder.node(b"intervals", dtype, left, right)
    if isinstance(array, pd.arrays.SparseArray):
        places = array.sp_index.to_int_index().indices
        return encoder.node(
            b"sparse",
            dtype,
            encoder.token(len(array)),
            encoder.token(array.sp_values),
            encoder.token(places),
            encoder.token(array.fill_value),
        )
    if not _is_of_pandas(array):
        return by_reduce(array, encoder)
    return encoder.node(b"extension", dtype, encoder.sequence(b"values", list(array)))


def _dtype(kind: Any, encoder: Encoder) -> bytes:
    if isinstance(kind, pd.DatetimeTZDtype):
        return encoder.record(b"zoned", kind.unit, kind.tz)
    if isinstance(kind, pd.CategoricalDtype):
        known = kind.categories
        labels = encoder.token(None) if known is None else _categories(known, encoder)
        return encoder.node(b"categories", encoder.token(kind.ordered), labels)
    if isinstance(kind, pd.ArrowDtype):
        return encoder.record(b"arrow", kind.pyarrow_dtype)
    if isinstance(kind, pd.SparseDtype):
        return encoder.node(
            b"sparse", _dtype(kind.subtype, encoder), encoder.token(kind.fill_value)
        )
    if isinstance(kind, pd.IntervalDtype):
        inside = None if kind.subtype is None else _dtype(kind.subtype, encoder)
        return encoder.record(b"intervals", inside, kind.closed)
    if isinstance(kind, np.dtype):
        return numpy_keys.dtype(kind, encoder)
    return encoder.token(repr(kind)) if _is_of_pandas(kind) else by_reduce(kind, encoder)


def _is_of_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas"
