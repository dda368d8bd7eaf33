"""Every value that a codec takes comes back equal, of the same type, and is the caller's alone."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import io
import json
import zoneinfo
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import pytz
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from s3kv_flow._model import Blob
from s3kv_flow._pack import Pack
from s3kv_flow.codecs.model import ModelCodec
from s3kv_flow.codecs.plain import JSONCodec
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import EncodingError, SealError
from s3kv_flow.testing import memory_store

SEALED = Pack("store", Keyring.generate())
OPEN = Pack("store")


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


def round_trip(value: Any, pack: Pack = SEALED) -> tuple[Any, str]:
    """Through the bucket's bytes, and through the local cache's."""
    packed = pack.pack("key", value, {"name": "n"})
    remote = memoryview(b"".join(map(bytes, pack.seal(packed))))
    opened = pack.open("key", remote)
    blob = pack.local(pack.repacked(opened), etag=None, now=0.0)
    local = Blob([bytearray(b"".join(map(bytes, blob.parts)))], None, 0.0)
    for found in (pack.value(opened), pack.value(pack.open_local("key", local))):
        assert type(found) is type(value)
        assert_equal(found, value)
    return found, packed.codec.name


@functools.singledispatch
def assert_equal(found: Any, value: Any) -> None:
    assert found == value


@assert_equal.register
def _(found: np.ndarray, value: np.ndarray) -> None:
    np.testing.assert_array_equal(found, value, strict=True)
    assert found.dtype == value.dtype
    assert found.flags.writeable


@assert_equal.register
def _(found: pd.DataFrame, value: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, value, check_column_type=True, check_freq=True)
    assert found.attrs == value.attrs
    assert [repr(dtype) for dtype in found.dtypes] == [repr(dtype) for dtype in value.dtypes]


@assert_equal.register
def _(found: pd.Series, value: pd.Series) -> None:
    pd.testing.assert_series_equal(found, value, check_freq=True)
    assert found.attrs == value.attrs


@assert_equal.register
def _(found: pd.Index, value: pd.Index) -> None:
    pd.testing.assert_index_equal(found, value, exact=True)
    assert getattr(found, "freq", None) == getattr(value, "freq", None)


@assert_equal.register
def _(found: pl.DataFrame, value: pl.DataFrame) -> None:
    assert found.schema == value.schema
    assert found.equals(value, null_equal=True)


@assert_equal.register
def _(found: pl.Series, value: pl.Series) -> None:
    assert found.dtype == value.dtype
    assert found.equals(value, check_names=True, null_equal=True)


@assert_equal.register
def _(found: LinearRegression, value: LinearRegression) -> None:
    assert_equal(found.coef_, value.coef_)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_what_json_can_say_is_stored_as_json(value: Any) -> None:
    assert round_trip(value, OPEN)[1] == "json"


numerals = st.from_regex(
    r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
texts_of_json = st.recursive(
    st.sampled_from(["null", "true", "NaN", "Infinity", "-Infinity", "nul", "1.", "01", "-"])
    | numerals
    | json_values.map(json.dumps)
    | json_values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f" [{', '.join(parts)}]\n")
        | st.lists(st.tuples(st.sampled_from("ab"), inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f'"{name}": {text}' for name, text in pairs) + "}"
        )
        | st.tuples(inner, st.characters()).map("".join)
    ),
    max_leaves=6,
)


@given(texts_of_json)
@example("-" + "9" * 30)
@example('["\\ud800", 18446744073709551616]')
@example("[" * 2000 + "]" * 2000)
def test_json_is_read_as_the_standard_library_reads_it(text: str) -> None:
    def read(how: Callable[[bytes], Any]) -> str:
        try:
            return repr(how(text.encode("utf-8", "surrogatepass")))
        except (ValueError, RecursionError) as error:
            return type(error).__name__

    expected = read(lambda data: json.loads(str(data, "utf-8")))
    assert read(lambda data: JSONCodec().decode({}, [memoryview(data)])) == expected


@given(st.binary())
def test_bytes_are_stored_as_bytes(value: bytes) -> None:
    assert round_trip(value, OPEN)[1] == "bytes"


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc))
    | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner),
    max_leaves=20,
)


@given(plain_values)
def test_everything_else_comes_back_as_it_was(value: Any) -> None:
    round_trip(value)


dtypes = [
    "?",
    "i1",
    "u1",
    "i2",
    "i4",
    "<i8",
    ">i8",
    "u8",
    "f2",
    "f4",
    "<f8",
    ">f8",
    "c8",
    "c16",
    "M8[ns]",
    "M8[D]",
    "m8[s]",
    "U3",
    "S5",
]


@pytest.mark.parametrize("dtype", dtypes)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4), (2, 0, 3)])
def test_arrays_of_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    assert round_trip(array, OPEN)[1] == "numpy"


def test_arrays_of_every_storage() -> None:
    array = np.arange(60.0).reshape(3, 4, 5)
    for value in (array.T, array[::2, :, ::-1], np.asfortranarray(array), array[1]):
        assert round_trip(value, OPEN)[1] == "numpy"
    assert round_trip(np.asfortranarray(array))[0].flags.f_contiguous
    record = np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,)), ("c", [("d", "U2")])])
    record["a"] = [1, 2, 3]
    assert round_trip(record, OPEN)[1] == "numpy"


@pytest.mark.parametrize("scalar", [np.float64(1.5), np.int8(3), np.bool_(True), np.str_("x")])
def test_scalars_of_numpy(scalar: Any) -> None:
    assert round_trip(scalar, OPEN)[1] == "numpy"


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "a", None], dtype=object),
        np.ma.masked_array([1, 2], mask=[True, False]),
        Point(1, (2, 3)),
        decimal.Decimal("1.10"),
        (1, {2}, frozenset("ab")),
        bytearray(b"x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pickled_values(value: Any) -> None:
    packed = SEALED.pack("key", value, {})
    assert packed.codec.name == "pickle"
    if isinstance(value, np.ndarray):
        found = SEALED.value(SEALED.open("key", memoryview(b"".join(SEALED.seal(packed)))))
        assert type(found) is type(value)
        assert found.tolist() == value.tolist()
    else:
        round_trip(value)


def test_a_model_with_its_arrays_out_of_band() -> None:
    model = LinearRegression().fit(np.arange(20.0).reshape(10, 2), np.arange(10.0))
    assert round_trip(model)[1] == "pickle"


def frame(**options: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 3], "b": [1.5, None, 3.0]}, **options)


zone = zoneinfo.ZoneInfo("Europe/Berlin")

FRAMES = {
    "numbers": frame(),
    "empty": frame().iloc[:0],
    "no columns": pd.DataFrame(index=[1, 2]),
    "text": pd.DataFrame({"s": ["a", None, "c"]}),
    "object text, None": pd.DataFrame({"s": pd.Series(["a", None, "c"], dtype=object)}),
    "object text, NaN": pd.DataFrame({"s": pd.Series(["a", np.nan, "c"], dtype=object)}),
    "nullable": pd.DataFrame(
        {"i": pd.array([1, None], "Int64"), "b": pd.array([True, None], "boolean")}
    ),
    "string": pd.DataFrame({"s": pd.array(["a", None], "string")}),
    "arrow": pd.DataFrame({"s": pd.array([1, None], pd.ArrowDtype(pa.int32()))}),
    "categorical": pd.DataFrame(
        {"c": pd.Categorical(["x", None, "y"], ["y", "x", "z"], ordered=True)}
    ),
    "times": pd.DataFrame(
        {
            "naive": pd.date_range("2020", periods=3),
            "utc": pd.date_range("2020", periods=3, tz=datetime.timezone.utc),
            "zoned": pd.date_range("2020-10-25", periods=3, freq="h", tz=zone),
            "delta": pd.to_timedelta([1, None, 3], unit="s"),
        }
    ),
    "dates as index": frame(index=pd.date_range("2020", periods=3, freq="D", tz=zone, name="day")),
    "text as index": frame(index=pd.Index(["x", "y", "z"], name="n")),
    "multi index": frame(index=pd.MultiIndex.from_product([["a"], [1, 2, 3]], names=["l", None])),
    "multi columns": pd.DataFrame(
        np.eye(2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    ),
    "duplicate columns": pd.DataFrame(np.eye(2), columns=["a", "a"]),
    "integer columns": pd.DataFrame(np.eye(2), columns=[3, 1]),
    "named columns": pd.DataFrame(np.eye(2), columns=pd.Index(["a", "b"], name="letters")),
    "categories as index": frame(index=pd.CategoricalIndex(["x", "y", "x"])),
    "no range": frame(index=pd.RangeIndex(10, 4, -2)),
    "float32": frame().astype("float32"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_stored_without_pickle(name: str) -> None:
    assert round_trip(FRAMES[name], OPEN)[1] == "pandas"


def test_attrs_come_back() -> None:
    value = frame()
    value.attrs["source"] = {"year": 2013}
    assert round_trip(value, OPEN)[1] == "pandas"


ODD_FRAMES = {
    "mixed objects": pd.DataFrame({"m": [1, "a", None]}),
    "None and NaN": pd.DataFrame({"m": pd.Series(["a", None, np.nan], dtype=object)}),
    "lists": pd.DataFrame({"l": [[1], [2, 3]]}),
    "periods": pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="M")}),
    "sparse": pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1])}),
    "mixed labels": pd.DataFrame(np.eye(2), columns=[0, "a"]),
    "intervals": frame(index=pd.interval_range(0, 3)),
}


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_what_would_not_come_back_is_left_to_pickle(name: str) -> None:
    assert round_trip(ODD_FRAMES[name])[1] == "pickle"


@pytest.mark.parametrize("name", FRAMES)
def test_series_and_indexes(name: str) -> None:
    value = FRAMES[name]
    assert round_trip(value.index, OPEN)[1] == "pandas"
    for position in range(value.shape[1]):
        series = value.iloc[:, position]
        if not isinstance(series.name, tuple):
            assert round_trip(series, OPEN)[1] == "pandas"


def test_a_frame_can_be_written_to() -> None:
    found, _ = round_trip(FRAMES["numbers"])
    found.loc[0, "a"] = 99
    found["b"] += 1
    assert found.loc[0, "a"] == 99


TABLE = pa.table(
    {"a": [1, None], "s": ["x", "y"], "l": [[1], []], "d": pa.array(["u", "v"]).dictionary_encode()}
)


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        TABLE.slice(1),
        pa.concat_tables([TABLE, TABLE]),
        TABLE.replace_schema_metadata({"k": "v"}),
        TABLE.schema.empty_table(),
        TABLE.to_batches()[0],
        TABLE.column("s"),
        pa.array([1, None, 3]),
        pa.array([{"x": 1}, None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrow(value: Any) -> None:
    assert round_trip(value, OPEN)[1] == "arrow"


POLARS = pl.DataFrame(
    {
        "a": [1, None, 3],
        "s": ["x", None, "z"],
        "l": [[1], [], None],
        "t": [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)] * 3,
        "c": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
        "e": pl.Series(["p", "q", "p"], dtype=pl.Enum(["q", "p"])),
        "n": [{"x": 1}, {"x": 2}, None],
    }
)


@pytest.mark.parametrize(
    "value", [POLARS, POLARS.head(0), pl.DataFrame(), POLARS["l"], POLARS["c"]]
)
def test_polars(value: Any) -> None:
    assert round_trip(value, OPEN)[1] == "polars"


def test_python_objects_in_polars_are_left_to_pickle() -> None:
    value = pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(EncodingError):
        SEALED.pack("key", value, {})


def test_large_compressible_payloads_shrink_and_random_ones_do_not() -> None:
    zeros = SEALED.seal(SEALED.pack("key", np.zeros(1_000_000), {}))
    noise = SEALED.seal(SEALED.pack("key", np.random.default_rng(0).random(100_000), {}))
    assert sum(map(len, zeros)) < 100_000
    assert 800_000 < sum(map(len, noise)) < 810_000
    round_trip(np.zeros(1_000_000))


def test_what_polars_knows_of_a_column_s_order_is_kept() -> None:
    frame = pl.DataFrame({"a": [2, 1], "b": [1, 2]}).sort("a")
    found, _ = round_trip(frame, OPEN)
    assert found.equals(frame)
    assert found.flags == frame.flags
    series = pl.Series([1, 3, 2]).sort(descending=True)
    assert round_trip(series, OPEN)[0].flags == series.flags


def test_aligned_records_come_back_aligned() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    found, _ = round_trip(np.zeros(3, dtype))
    assert found.dtype.isalignedstruct


class Node:
    """Can be changed, and be a key of a dict all the same."""

    def __init__(self, held: Any) -> None:
        self.held = held


SURROGATES = "\ud83d\ude00"
PICKLED = {
    "two surrogates": SURROGATES,
    "keys that JSON would make one": {SURROGATES: 1, "\U0001f600": 2},
    "a name of surrogates": pd.Series([1], name=SURROGATES),
    "attrs of surrogates": FRAMES["numbers"].assign(),
    "fields in another order": np.zeros(2, [("a", "i4"), ("b", "f8")])[["b", "a"]],
    "records": np.zeros(2, np.dtype((np.record, [("a", "i4")]))),
    "records inside": np.zeros(2, [("n", np.dtype((np.record, [("a", "i4")])))]),
    "aligned inside": np.zeros(2, [("n", np.dtype([("a", "i1"), ("b", "f8")], align=True))]),
    "an offset without a text": pd.date_range("2020", periods=3, freq=pd.DateOffset(months=1)),
    "text that is no UTF-8": pa.array([b"\xff"]).view(pa.string()),
}
PICKLED["attrs of surrogates"].attrs["a"] = SURROGATES


@pytest.mark.parametrize("name", PICKLED)
def test_what_a_codec_would_lose_is_left_to_pickle(name: str) -> None:
    assert round_trip(PICKLED[name])[1] == "pickle"


def test_what_is_shared_too_often_is_left_to_pickle() -> None:
    shared: Any = []
    for _ in range(60):
        shared = [shared, shared]
    assert SEALED.pack("key", shared, {}).codec.name == "pickle"
    row = {"a": [1, 2]}
    assert round_trip([row] * 20_000, OPEN)[1] == "json"


@pytest.mark.parametrize(
    "value",
    [list(range(1_000_001)), [[0.5] * 100] * 2 + [list(range(120)) for _ in range(10_000)]],
    ids=["flat", "wide"],
)
def test_long_values_are_stored_as_json(value: Any) -> None:
    assert OPEN.pack("key", value, {}).codec.name == "json"


def test_zones_of_pytz_come_back() -> None:
    zone = pytz.timezone("Europe/Berlin")
    value = pd.Series(pd.date_range("2020-10-24", periods=3, tz=zone))
    found, codec = round_trip(value, OPEN)
    assert codec == "pandas"
    assert found.dt.tz is value.dt.tz


NAMED = [
    pd.Series([1], name=2**70),
    pd.Series([1], name="\ud800"),
    pd.DataFrame({"a": [1]}, index=pd.Index([1], name=2**70)),
    np.zeros(2, [("\ud800", "i4")]),
]


@pytest.mark.parametrize("value", NAMED, ids=["number", "surrogate", "index", "field"])
def test_names_come_back_whatever_they_are(value: Any) -> None:
    found, codec = round_trip(value, OPEN)
    assert codec in ("pandas", "numpy")
    assert getattr(found, "name", None) == getattr(value, "name", None)


@pytest.mark.parametrize("value", [[memoryview(b"ab")], [io.StringIO("a")], [io.BytesIO(b"a")]])
def test_what_cloudpickle_would_make_something_else_of_is_refused(value: Any) -> None:
    try:
        found = OWN.value(OWN.open("key", memoryview(bytearray(sealed(value)))))
    except EncodingError:
        return
    assert type(found[0]) is type(value[0])


OWN = Pack("store", Keyring.generate())


def sealed(value: Any) -> bytes:
    return b"".join(map(bytes, OWN.seal(OWN.pack("key", value, {}))))


def test_small_copies_share_no_keys_that_can_be_changed() -> None:
    opened = SEALED.open(
        "key", memoryview(b"".join(SEALED.seal(SEALED.pack("key", {Node([]): 1}, {}))))
    )
    first, second, third = (SEALED.value(opened) for _ in range(3))
    (node,) = third
    node.held.append("x")
    assert [next(iter(one)).held for one in (first, second, SEALED.value(opened))] == [[], [], []]


@dataclasses.dataclass
class Größe:
    x: int


def test_a_class_of_any_name_hits() -> None:
    calls = []

    @memory_store().cached(name="size", version="1")
    def size(x: int) -> Größe:
        calls.append(x)
        return Größe(x)

    assert [size(1), size(1), size(1)] == [Größe(1)] * 3
    assert calls == [1]


def test_a_declared_class_can_still_be_pickled_by_value() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = compile(DECLARED, "<script>", "exec", dont_inherit=True)
    exec(code, namespace)  # as a script or a notebook has it
    cloudpickle.dumps(namespace["Report"])
    ModelCodec(namespace["Report"])
    for name in ("Report", "Part", "Color", "Pair", "Options", "Inner"):
        assert cloudpickle.loads(cloudpickle.dumps(namespace[name])).__name__ == name
    color, pair = namespace["Color"].R, namespace["Pair"](namespace["Inner"](2))
    value = namespace["Report"](1.5, [namespace["Part"](1)], color, pair, {"x": 1}, None)
    assert ModelCodec(namespace["Report"]).encode(value) is not None


DECLARED = """
import dataclasses
import enum
import typing

class Color(enum.Enum):
    R = "r"

@dataclasses.dataclass
class Inner:
    x: int

class Pair(typing.NamedTuple):
    a: Inner

class Options(typing.TypedDict):
    x: int

@dataclasses.dataclass
class Part:
    x: int

@dataclasses.dataclass
class Report:
    low: float
    parts: list[Part]
    color: Color
    pair: Pair
    options: Options
    named: typing.Optional[Inner]
"""


def header_of(changes: dict[str, Any]) -> Any:
    """Open what an attacker wrote over an entry of JSON."""

    def change(packed: Any) -> None:
        packed.header.update(changes)

    return forged({"a": 1}, change)


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"created": 1e300},
            {"created": -1},
            {"created": 2**63},
            {"producer": "x"},
            {"tags": [1]},
        ),
        *({"compute": 10**400}, {"compute": -(10**400)}, {"compute": -1}),
    ],
    ids=lambda changes: str(changes)[:30],
)
def test_headers_that_say_something_else_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SealError):
        header_of(changes)


@pytest.mark.parametrize("shape", [[13_000], [10**9], [2, 3]])
def test_an_array_without_its_bytes_is_refused(shape: list[int]) -> None:
    def change(packed: Any) -> None:
        packed.header.update(arguments={"dtype": "|u1", "shape": shape}, buffers=[[0, 0]])

    with pytest.raises(SealError, match="bytes are not there"):
        forged(np.zeros(1, "u1"), change)


def test_an_entry_whose_codec_says_nothing_of_the_value_is_read_and_kept() -> None:
    packed = OPEN.pack("key", {"a": 1}, {})
    del packed.header["arguments"]
    opened = OPEN.open("key", memoryview(b"".join(OPEN.seal(packed))))
    blob = OPEN.local(OPEN.repacked(opened), etag=None, now=0.0)
    local = Blob([b"".join(map(bytes, blob.parts))], None, 0.0)
    assert OPEN.value(opened) == OPEN.value(OPEN.open_local("key", local)) == {"a": 1}


def forged(value: Any, change: Any) -> Any:
    """What an attacker can write: a checksum that fits, over anything."""
    packed = OPEN.pack("key", value, {})
    change(packed)
    data = bytearray(b"".join(map(bytes, OPEN.seal(packed))))
    return OPEN.value(OPEN.open("key", memoryview(data)))


def test_offsets_beyond_an_arrow_buffer_are_refused() -> None:
    table = pa.table({"a": ["some text", "more of it"]})

    def change(packed: Any) -> None:
        body = bytearray(b"".join(map(bytes, packed.payload)))
        at = body.index(b"\x09\x00\x00\x00\x13\x00\x00\x00")
        body[at + 4 : at + 8] = b"\xff\xff\xff\x7f"
        packed.payload[:] = [bytes(body)]

    with pytest.raises(SealError, match="cannot be decoded"):
        forged(table, change)


def test_labels_beyond_an_index_are_refused() -> None:
    series = pd.Series([1.0, 2.0], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))

    def change(packed: Any) -> None:
        (first, size) = packed.header["buffers"][
            packed.header["arguments"]["index"]["codes"][0]["raw"]
        ]
        body = bytearray(b"".join(map(bytes, packed.payload)))
        body[first : first + size] = b"\x7f" * size
        packed.payload[:] = [bytes(body)]

    with pytest.raises(SealError, match="names no label"):
        forged(series, change)
