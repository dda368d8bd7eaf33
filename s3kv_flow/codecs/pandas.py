"""pandas frames, series and indexes: raw buffers for what NumPy holds, Arrow for the rest.

The frame is taken apart column by column instead of by pandas' own Arrow conversion, for two
reasons: numeric columns come back as writable views of the mapped file, and every dtype that
would come back as another (or an index that would lose its frequency) is seen and declined.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from s3kv_flow.codecs.arrow import ipc_bytes, read_table, single_array
from s3kv_flow.codecs.base import Encoded
from s3kv_flow.codecs.numpy import array_over, describe_dtype, raw_bytes
from s3kv_flow.codecs.plain import dump_exact

Spec = Optional[dict[str, Any]]


class PandasCodec:
    """Exactly `pandas.DataFrame`, `Series` and `Index`, without mixed-object columns."""

    name = "pandas"
    safe = True
    aliases = True

    def encode(self, value: Any) -> Encoded | None:
        import pandas as pd

        writer = _Writer()
        if type(value) is pd.DataFrame:
            spec = writer.frame(value)
        elif type(value) is pd.Series:
            spec = writer.series(value)
        elif isinstance(value, pd.Index):
            spec = writer.index(value)
            spec = None if spec is None else {"index": spec}
        else:
            return None
        return None if spec is None else Encoded(writer.buffers, spec)

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        import pandas as pd

        reader = _Reader(buffers)
        index = reader.index(arguments["index"])
        if "columns" in arguments:
            columns = [_as_column(reader.array(spec), index) for spec in arguments["values"]]
            value = pd.DataFrame(dict(enumerate(columns)), index=index, copy=False)
            value.columns = reader.index(arguments["columns"])
        elif "value" in arguments:
            value = _as_column(reader.array(arguments["value"]), index)
            value = pd.Series(value, index=index, name=_label(arguments["name"]), copy=False)
        else:
            return index
        value.attrs = json.loads(arguments["attrs"])
        return value


class _Writer:
    def __init__(self) -> None:
        self.buffers: list[Any] = []

    def _add(self, buffer: Any) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _common(self, value: Any) -> Spec:
        attrs = dump_exact(value.attrs)
        if not value.flags.allows_duplicate_labels or attrs is None:
            return None
        index = self.index(value.index)
        return None if index is None else {"index": index, "attrs": attrs.decode()}

    def frame(self, frame: Any) -> Spec:
        spec = self._common(frame)
        columns = self.index(frame.columns)
        if spec is None or columns is None:
            return None
        values = []
        for position in range(frame.shape[1]):
            column = self.array(frame.iloc[:, position].array)
            if column is None:
                return None
            values.append(column)
        return {**spec, "columns": columns, "values": values}

    def series(self, series: Any) -> Spec:
        spec = self._common(series)
        value = self.array(series.array)
        if spec is None or value is None or not _is_label(series.name):
            return None
        return {**spec, "value": value, "name": _label_spec(series.name)}

    def index(self, index: Any) -> Spec:
        import pandas as pd

        if not all(map(_is_label, index.names)):
            return None
        names: dict[str, Any] = {"names": [_label_spec(name) for name in index.names]}
        if type(index) is pd.RangeIndex:
            return {"range": [index.start, index.stop, index.step], **names}
        if type(index) is pd.MultiIndex:
            if index.sortorder is not None:
                return None
            levels = [self.index(level) for level in index.levels]
            if None in levels:
                return None
            codes = [self.array(pd.Series(codes, copy=False).array) for codes in index.codes]
            return {"levels": levels, "codes": codes, **names}
        if type(index) not in (pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex, pd.CategoricalIndex):
            return None
        values = self.array(index.array)
        frequency = getattr(index, "freqstr", None)
        if values is None:
            return None
        if frequency is not None:
            try:
                again = pd.tseries.frequencies.to_offset(frequency)
            except ValueError:  # not every offset can be said in a text
                return None
            if again != index.freq:
                return None
            names["frequency"] = frequency
        return {"values": values, **names}

    def array(self, array: Any) -> Spec:
        import numpy as np
        import pandas as pd

        dtype = array.dtype
        if isinstance(dtype, np.dtype) or type(array) is pd.arrays.NumpyExtensionArray:
            values = np.asarray(array)
            if values.dtype == object:
                return self._strings(values)
            described = describe_dtype(values.dtype)
            if described is None or values.dtype.kind not in "biufcMm":
                return None
            return {"raw": self._add(raw_bytes(values)), "dtype": described, "size": len(values)}
        if isinstance(dtype, pd.DatetimeTZDtype):
            zone = _zone_name(dtype.tz)
            if zone is None:
                return None
            raw = self._add(raw_bytes(array.asi8))
            return {"instants": raw, "unit": dtype.unit, "zone": zone, "size": len(array)}
        if isinstance(dtype, pd.CategoricalDtype):
            codes = self.array(pd.Series(array.codes, copy=False).array)
            categories = self.index(dtype.categories)
            if categories is None:
                return None
            return {"codes": codes, "categories": categories, "ordered": dtype.ordered}
        return self._extension(array, dtype)

    def _strings(self, values: Any) -> Spec:
        """Take an object column of nothing but str, with None or NaN (not both) where one is missing."""
        import pyarrow as pa

        kinds = set(map(type, values))
        if not kinds <= {str, type(None)} and not kinds <= {str, float}:
            return None
        if float in kinds and any(type(one) is float and one == one for one in values):
            return None
        if str not in kinds:
            return None
        try:
            arrow = pa.array(values, pa.large_string(), from_pandas=True)
        except (pa.ArrowException, UnicodeEncodeError):
            return None
        return {"strings": self._arrow(arrow), "missing": "nan" if float in kinds else "none"}

    def _extension(self, array: Any, dtype: Any) -> Spec:
        import pyarrow as pa

        spec = _dtype_spec(dtype)
        if spec is None or not (
            hasattr(dtype, "__from_arrow__") and hasattr(array, "__arrow_array__")
        ):
            return None
        try:
            arrow = pa.array(array)
        except (pa.ArrowException, UnicodeEncodeError):
            return None
        if isinstance(arrow, pa.ChunkedArray):
            arrow = single_array(pa.table({"": arrow}))
        if isinstance(arrow.type, pa.BaseExtensionType):
            return None
        return {"extension": self._arrow(arrow), **spec}

    def _arrow(self, array: Any) -> int:
        import pyarrow as pa

        return self._add(memoryview(ipc_bytes(pa.table({"": array}))))


class _Reader:
    def __init__(self, buffers: Sequence[memoryview]) -> None:
        self._buffers = buffers

    def index(self, spec: Mapping[str, Any]) -> Any:
        import pandas as pd

        names = [_label(name) for name in spec["names"]]
        if "range" in spec:
            start, stop, step = spec["range"]
            return pd.RangeIndex(start, stop, step, name=names[0])
        if "levels" in spec:
            levels = [self.index(level) for level in spec["levels"]]
            codes = [self.array(codes) for codes in spec["codes"]]
            for level, numbers in zip(levels, codes, strict=True):  # pandas would read beyond it
                if len(numbers) and not -1 <= numbers.min() <= numbers.max() < len(level):
                    raise ValueError("a code of the index names no label")
            return pd.MultiIndex(levels, codes, names=names, verify_integrity=False)
        values = self.array(spec["values"])
        if "frequency" in spec:
            kind = pd.TimedeltaIndex if values.dtype.kind == "m" else pd.DatetimeIndex
            return kind(values, freq=spec["frequency"], name=names[0])
        return pd.Index(values, dtype=values.dtype, name=names[0], copy=False)

    def array(self, spec: Mapping[str, Any]) -> Any:
        import pandas as pd

        if "raw" in spec:
            return array_over(self._buffers[spec["raw"]], spec["dtype"], (spec["size"],))
        if "instants" in spec:
            raw = array_over(self._buffers[spec["instants"]], "<i8", (spec["size"],))
            dtype = pd.DatetimeTZDtype(spec["unit"], _zone(spec["zone"]))
            instants = raw.view(f"M8[{spec['unit']}]")
            return (
                pd.Series(instants, copy=False).dt.tz_localize("UTC").dt.tz_convert(dtype.tz).array
            )
        if "codes" in spec:
            return pd.Categorical.from_codes(
                self.array(spec["codes"]),
                categories=self.index(spec["categories"]),
                ordered=spec["ordered"],
            )
        if "strings" in spec:
            return self._strings(spec)
        return _dtype(spec).__from_arrow__(self._arrow(spec["extension"]))

    def _strings(self, spec: Mapping[str, Any]) -> Any:
        import numpy as np

        arrow = self._arrow(spec["strings"])
        values = arrow.to_numpy(zero_copy_only=False)
        if spec["missing"] == "nan" and arrow.null_count:
            values = values.copy()
            values[arrow.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return values

    def _arrow(self, number: int) -> Any:
        return single_array(read_table(self._buffers[number]))


def _as_column(array: Any, index: Any) -> Any:
    """Keep an object array one of objects: pandas 3 would read a bare one as its `str`."""
    import pandas as pd

    if array.dtype == object:
        return pd.Series(array, index=index, dtype=object, copy=False)
    return array


def _is_label(name: object) -> bool:
    import numpy as np

    return type(name) is np.int64 or (
        dump_exact(name) is not None and not isinstance(name, (list, dict))
    )


def _label_spec(name: Any) -> Any:
    import numpy as np

    return {"int64": int(name)} if type(name) is np.int64 else name


def _label(spec: Any) -> Any:
    import numpy as np

    return np.int64(spec["int64"]) if isinstance(spec, dict) else spec


def _zone_name(zone: Any) -> str | None:
    import datetime
    import zoneinfo

    if zone is datetime.timezone.utc:
        return "utc"
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return f"zoneinfo:{zone.key}"
    name = getattr(zone, "zone", None)  # what pandas 2 makes of a name
    if type(zone).__module__.partition(".")[0] == "pytz" and isinstance(name, str):
        return f"pytz:{name}"
    return None


def _zone(name: str) -> Any:
    import datetime
    import zoneinfo

    maker, _, key = name.partition(":")
    if maker == "pytz":
        import pytz

        return pytz.timezone(key)
    return datetime.timezone.utc if name == "utc" else zoneinfo.ZoneInfo(key)


def _dtype_spec(dtype: Any) -> Spec:
    import pandas as pd

    if isinstance(dtype, pd.StringDtype):
        missing = "NA" if dtype.na_value is pd.NA else "nan"
        spec: dict[str, Any] = {"storage": dtype.storage, "missing": missing}
    else:
        spec = {"dtype": str(dtype)}
    try:
        back = _dtype(spec)
    except (TypeError, ValueError, NotImplementedError):
        return None
    return spec if back == dtype and repr(back) == repr(dtype) else None


def _dtype(spec: Mapping[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    if "storage" in spec:
        if spec["missing"] == "NA":
            return pd.StringDtype(spec["storage"])
        return pd.StringDtype(spec["storage"], na_value=np.nan)
    return pd.api.types.pandas_dtype(spec["dtype"])
