"""Pairs of values that are the same call, or another: what a hash of text or of pickles gets wrong."""

from __future__ import annotations

import asyncio
import copyreg
import dataclasses
import datetime
import decimal
import functools
import gettext
import http.client
import io
import operator
import pathlib
import pickle
import random
import struct
import sys
import tracemalloc
import types
import typing
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs
import dask
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pydantic
import pytest
from scipy import sparse, stats
from sklearn import neighbors
from sklearn.feature_extraction import text

from s3kv_flow.errors import UnhashableArgumentError, UnstableKeyWarning
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key


@dataclasses.dataclass
class Rows(list):  # type: ignore[type-arg]
    name: str = ""


@dataclasses.dataclass
class Table(dict):  # type: ignore[type-arg]
    name: str = ""


class Hidden:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class OverSlots(Hidden):
    x: int = 0


class State:
    """Says itself what its state is."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        return self.state

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Frame(pd.DataFrame):
    _metadata = ["crs"]  # noqa: RUF012 - as pandas wants it

    @property
    def _constructor(self) -> type:
        return Frame


class Array(np.ndarray):  # type: ignore[type-arg]
    __slots__ = ("unit",)


class Masked(np.ma.MaskedArray):  # type: ignore[type-arg]
    pass


class Columns(pl.DataFrame):
    pass


class Kind(pa.ExtensionType):
    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(pa.int64(), "unit")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.unit.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Kind:
        return cls(serialized.decode())


def made(kind: type, *arguments: Any, **attributes: Any) -> Any:
    value = kind(*arguments)
    for name, held in attributes.items():
        setattr(value, name, held)
    return value


def frame(crs: str) -> Frame:
    return made(Frame, {"a": [1]}, crs=crs)


def array(unit: str) -> Any:
    return made(lambda: np.arange(2).view(Array), unit=unit)  # type: ignore[arg-type]


def union(*codes: int) -> Any:
    children = [pa.array([1, 1]), pa.array([1, 1])]
    return pa.UnionArray.from_sparse(pa.array(codes, pa.int8()), children)


class Extended(msgspec.Struct, dict=True):
    a: int


class Coordinates(pd.api.extensions.ExtensionDtype):  # type: ignore[misc]
    name = "coordinates"
    type = object

    def __init__(self, system: str) -> None:
        self.system = system

    @classmethod
    def construct_array_type(cls) -> type:
        return Places


class Places(pd.api.extensions.ExtensionArray):  # type: ignore[misc]
    def __init__(self, values: Any, system: str) -> None:
        self.values = list(values)
        self.system = system

    @property
    def dtype(self) -> Coordinates:
        return Coordinates(self.system)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        return self.values[place]

    def copy(self) -> Places:
        return Places(self.values, self.system)


def places(values: Any, system: str) -> Any:
    return pd.Series(Places(values, system))


class Numbers(pl.Series):
    pass


class Plan(pl.LazyFrame):
    pass


class Sparse(sparse.csr_array):  # type: ignore[misc]
    pass


class Place(type(pathlib.Path())):  # type: ignore[misc]
    pass


def add(x: Any) -> Any:
    return x + 1


def plus(x: Any) -> Any:
    return x + 1


class Registered:
    """Has nothing inside: `copyreg` knows what it is made of."""

    held: typing.ClassVar[dict[int, Any]] = {}

    def __init__(self, x: Any) -> None:
        self.held[id(self)] = x


copyreg.pickle(Registered, lambda value: (Registered, (value.held[id(value)],)))  # type: ignore[arg-type]


class Wrong:
    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def take(x: Any) -> Any:
    return x - 1


def mapped(function: Any) -> Any:
    return pl.LazyFrame({"a": [1]}).map_batches(function)


def grouped(function: Any) -> Any:
    return pl.LazyFrame({"a": [1]}).group_by("a").map_groups(function, schema=None)


def of_each(function: Any) -> Any:
    return pl.col("a").map_batches(function, return_dtype=pl.Int64)


def spawned(times: int) -> Any:
    generator = np.random.default_rng(1)
    if times:
        generator.bit_generator.seed_seq.spawn(times)  # type: ignore[attr-defined]
    return generator


def of_kind(kind: Kind, value: Any) -> Any:
    return pa.ExtensionArray.from_storage(kind, pa.array([value], pa.int64()))[0]


CATEGORIES = list(range(200))
IN_BETWEEN = [*CATEGORIES[:100], 1000, *CATEGORIES[101:]]

DIFFERENT: list[Callable[[], tuple[Any, Any]]] = [
    lambda: (Rows([1]), Rows([2])),
    lambda: (Table({1: 1}), Table({1: 2})),
    lambda: (made(OverSlots, hidden=1), made(OverSlots, hidden=2)),
    lambda: (np.trace, np.linalg.trace),
    lambda: (typing.NewType("U", int), typing.NewType("U", str)),
    lambda: (typing.TypeVar("T", bound=int), typing.TypeVar("T", bound=str)),
    lambda: (typing.Annotated[int, 1], typing.Annotated[int, 2]),
    lambda: (np.array([1 + 2**-40], ">f16"), np.array([1 + 2**-50], ">f16")),
    lambda: (
        pd.offsets.CustomBusinessDay(holidays=["2020-01-01"]),
        pd.offsets.CustomBusinessDay(),
    ),
    lambda: (
        pd.offsets.CustomBusinessDay(weekmask="Mon Tue"),
        pd.offsets.CustomBusinessDay(),
    ),
    lambda: (pd.DateOffset(months=1, normalize=True), pd.DateOffset(months=1)),
    lambda: (pd.offsets.BDay(normalize=True), pd.offsets.BDay()),
    lambda: (pd.CategoricalDtype(CATEGORIES), pd.CategoricalDtype(IN_BETWEEN)),
    lambda: (pd.Interval(np.int64(0), np.int64(1)), pd.Interval(0, 1)),
    lambda: (
        pd.Interval(pd.Timestamp("2020").as_unit("s"), pd.Timestamp("2021").as_unit("s")),
        pd.Interval(pd.Timestamp("2020").as_unit("ns"), pd.Timestamp("2021").as_unit("ns")),
    ),
    lambda: (frame("EPSG:1"), frame("EPSG:2")),
    lambda: (array("m"), array("s")),
    lambda: (np.ma.masked_array([1]).view(Masked), np.ma.masked_array([1])),
    lambda: (Columns({"a": [1]}), pl.DataFrame({"a": [1]})),
    lambda: (State((None, {"a": 1})), State((0, {"a": 1}))),
    lambda: (State((None, {"a": 1})), State(({}, {"a": 1}))),
    lambda: (State(([], {"a": 1})), State((False, {"a": 1}))),
    lambda: (union(0, 0), union(0, 1)),
    lambda: (Kind("m"), Kind("s")),
    lambda: (
        pa.struct([pa.field("a", pa.int8(), metadata={"k": "1"})]),
        pa.struct([pa.field("a", pa.int8(), metadata={"k": "2"})]),
    ),
    lambda: (
        pa.struct([("a: int64, b", pa.int64())]),
        pa.struct([("a", pa.int64()), ("b", pa.int64())]),
    ),
    lambda: (
        types.MappingProxyType(OrderedDict(a=1, b=2)),
        types.MappingProxyType(OrderedDict(b=2, a=1)),
    ),
    lambda: (pd.Timestamp("5000-01-01"), pd.Timestamp("5000-01-02")),
    lambda: (attrs.converters.default_if_none(1), attrs.converters.default_if_none(2)),
    lambda: (attrs.converters.pipe(int, str), attrs.converters.pipe(str, int)),
    lambda: (gettext.c2py("n > 1"), gettext.c2py("n > 2")),
    lambda: (mapped(add), mapped(take)),
    lambda: (mapped(lambda x: x + 1), mapped(lambda x: x + 2)),
    lambda: (of_each(add), of_each(take)),
    lambda: (pl.col("a").rolling_map(add, 2), pl.col("a").rolling_map(take, 2)),
    lambda: (pl.reduce(operator.add, pl.all()), pl.reduce(operator.sub, pl.all())),
    lambda: (pl.col("a").name.map(add), pl.col("a").name.map(take)),
    lambda: (grouped(add), grouped(take)),
    lambda: (Numbers([1]), pl.Series([1])),
    lambda: (Plan({"a": [1]}), pl.LazyFrame({"a": [1]})),
    lambda: (pl.LazyFrame({"a": [1]}), pl.LazyFrame({"a": [2]})),
    lambda: (Sparse([[1]]), sparse.csr_array([[1]])),
    lambda: (Place("/a"), pathlib.Path("/a")),
    lambda: (places([1], "a"), places([1], "b")),
    lambda: (places([1], "a"), places([2], "a")),
    lambda: (spawned(0), spawned(1)),
    lambda: (pd.RangeIndex(1, 5), pd.RangeIndex(0, 4)),
    lambda: (
        pd.date_range("2020", periods=3),
        pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03"]),
    ),
    lambda: (pd.Index(["a"], dtype="string"), pd.Index(["a"], dtype=object)),
    lambda: (np.dtype("i1, i8", align=True), np.dtype("i1, i8")),
    lambda: (np.dtype([(("t", "a"), "i1")]), np.dtype([(("u", "a"), "i1")])),
    lambda: (pd.ArrowDtype(pa.timestamp("s")), pd.ArrowDtype(pa.timestamp("ms"))),
    lambda: (pd.SparseDtype(float, 0.0), pd.SparseDtype(float, 1.0)),
    lambda: (np.complex128(complex("nan+1j")), np.complex128(complex("nan+2j"))),
    lambda: ({"a": 1, "b": 2}.values(), {"a": 2, "b": 1}.values()),
    lambda: ({"a": 1}.keys(), {"a": 1}.items()),
    lambda: (struct.Struct("<i"), struct.Struct(">i")),
    lambda: (property(add), property(take)),
    lambda: (add, plus),
    lambda: (Registered(1), Registered(2)),
    lambda: (dask.delayed(add), dask.delayed(take)),
    lambda: (pc.CountOptions(mode="all"), pc.CountOptions(mode="only_null")),
    lambda: (np.busdaycalendar(), np.busdaycalendar(holidays=["2020-01-01"])),
    lambda: (np.ma.array([1], hard_mask=True), np.ma.array([1])),
    lambda: (pa.Tensor.from_numpy(np.arange(3)), pa.Tensor.from_numpy(np.arange(4))),
    lambda: (union(0, 1)[0], union(0, 1)[1]),
    lambda: (of_kind(Kind("m"), 1), of_kind(Kind("m"), 2)),
    lambda: (of_kind(Kind("m"), None), of_kind(Kind("s"), None)),
    lambda: (msgspec.Meta(gt=1), msgspec.Meta(gt=2)),
    lambda: (made(Extended, 1, x=1), made(Extended, 1, x=2)),
    lambda: (made(Extended, 1, x=1), Extended(1)),
    lambda: (msgspec.json.Decoder(int), msgspec.json.Decoder(str)),
]


@pytest.mark.parametrize("pair", DIFFERENT)
def test_values_that_differ_have_different_keys(pair: Callable[[], tuple[Any, Any]]) -> None:
    assert_different_keys(*pair())


class Reader:
    def __init__(self) -> None:
        self.kept = 1

    @functools.cached_property
    def read(self) -> int:
        return 1


class Empty:
    @functools.cached_property
    def read(self) -> int:
        return 1


class Texts(list):  # type: ignore[type-arg]
    @functools.cached_property
    def read(self) -> int:
        return 1


class Names(set):  # type: ignore[type-arg]
    @functools.cached_property
    def read(self) -> int:
        return 1


class Failure(Exception):
    @functools.cached_property
    def read(self) -> int:
        return 1


class Model(pydantic.BaseModel):
    x: int = 0

    @functools.cached_property
    def read(self) -> int:
        return 1


class Shown(pydantic.BaseModel):
    x: int = 0

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @functools.cached_property
    def read(self) -> int:
        return 1


@pytest.mark.parametrize("kind", [Reader, Empty, Texts, Names, Failure, Model, Shown])
def test_reading_a_cached_property_changes_no_key(kind: type) -> None:
    value = kind()
    before = Encoder().token(value)
    assert value.read == 1
    assert Encoder().token(value) == before


@attrs.frozen(cache_hash=True, slots=False)
class Hashed:
    x: int


def test_hashing_a_value_changes_no_key() -> None:
    value = Hashed(1)
    before = Encoder().token(value)
    hash(value)
    assert Encoder().token(value) == before == Encoder().token(pickle.loads(pickle.dumps(value)))


def sliced(*lengths: int) -> pl.DataFrame:
    whole = pl.DataFrame({"a": range(10), "s": [str(n) for n in range(10)]})
    parts = [whole[start:end] for start, end in zip((0, *lengths), (*lengths, 10))]
    return pl.concat(parts, rechunk=False)


def looked_at(error: Exception) -> Exception:
    assert not vars(error)
    return error


def diagonals(outside: float) -> Any:
    return sparse.dia_array(([[outside, 1.0, 2.0]], [1]), shape=(3, 3))


SAME: list[Callable[[], tuple[Any, Any]]] = [
    lambda: (np.asarray([1], "q"), np.asarray([1], "l")),
    lambda: (np.float64("nan"), np.array([0x7FF8000000000001]).view("f8")[0]),
    lambda: (np.float64("nan"), -np.float64("nan")),
    lambda: (diagonals(9.0), diagonals(0.0)),
    lambda: (
        State({frozenset({1}): 1, frozenset({2}): 2}),
        State({frozenset({2}): 2, frozenset({1}): 1}),
    ),
    lambda: (pd.offsets.CustomBusinessDay(), pd.offsets.CustomBusinessDay()),
    lambda: (attrs.converters.default_if_none(1), attrs.converters.default_if_none(1)),
    lambda: (gettext.c2py("n > 1"), gettext.c2py("n > 1")),
    lambda: (mapped(add), mapped(add)),
    lambda: (of_each(lambda x: {1, x}), of_each(lambda x: {1, x})),
    lambda: (sliced(3).lazy(), sliced(5, 8).lazy()),
    lambda: (pl.lit(sliced(3)["s"]), pl.lit(sliced(5, 8)["s"])),
    lambda: (places([1], "a"), places([1], "a")),
    lambda: (spawned(1), pickle.loads(pickle.dumps(spawned(1)))),
    lambda: (pd.RangeIndex(0, 10, 3), pd.RangeIndex(0, 12, 3)),
    lambda: (pd.RangeIndex(5, 5), pd.RangeIndex(0)),
    lambda: (pd.RangeIndex(5, 6), pd.RangeIndex(5, 7, 2)),
    lambda: (np.zeros(2, np.dtype("i1, i8", align=True)), np.zeros(2, "i1, i8")),
    lambda: (
        sparse.dia_array(([[1, 2, 9, 9]], [0]), shape=(2, 2)),
        sparse.dia_array(([[1, 2]], [0]), shape=(2, 2)),
    ),
    lambda: (
        sparse.dia_array(([[1, 2]], [0]), shape=(2, 4)),
        sparse.dia_array(([[1, 2, 0, 0]], [0]), shape=(2, 4)),
    ),
    lambda: (
        np.complex128(complex("nan+1j")),
        np.array([0x7FF8000000000001, 0x3FF0000000000000], "u8").view("c16")[0],
    ),
    lambda: (msgspec.json.Encoder(), msgspec.json.Encoder()),
    lambda: (dask.delayed(add), dask.delayed(add)),
    lambda: (pc.CountOptions(mode="all"), pc.CountOptions(mode="all")),
    lambda: (pa.scalar(1), pa.chunked_array([[1]])[0]),
    lambda: (looked_at(ValueError("a")), ValueError("a")),
    lambda: ({"a": 1, "b": 2}.keys(), {"b": 2, "a": 1}.keys()),
    lambda: ({"a": 1, "b": 2}.items(), {"b": 2, "a": 1}.items()),
]


@pytest.mark.parametrize("pair", SAME)
def test_values_that_are_the_same_share_a_key(pair: Callable[[], tuple[Any, Any]]) -> None:
    assert_same_key(*pair())


WITH_A_KEY: list[Any] = [
    pd.Timestamp("5000-01-01"),
    pd.Timestamp("0001-01-01"),
    pd.Timedelta(10**9, "s").as_unit("s") * 1000,
    np.ma.masked,
    np.ma.array([(1, 2.0)], mask=[(True, False)], dtype=[("a", "i4"), ("b", "f8")]),
    State(("v1", {"a": 1})),
    State({1: 1, "a": 2}),
    made(Reader),
]


@pytest.mark.parametrize("value", WITH_A_KEY, ids=lambda value: type(value).__name__)
def test_odd_values_have_a_key(value: Any) -> None:
    assert Encoder().token(value) == Encoder().token(value)


def test_attributes_need_no_names_that_are_text() -> None:
    value = Reader()
    value.__dict__[1] = 2  # type: ignore[index]
    assert Encoder().token(value)


HELD: list[Callable[[], Any]] = [
    asyncio.Lock,
    asyncio.Event,
    asyncio.Queue,
    lambda: http.client.HTTPConnection("localhost"),
    lambda: np.frompyfunc(abs, 1, 1),
    lambda: dask.delayed(add)(1),
    lambda: Wrong(None),
    lambda: Wrong((Wrong,)),
    lambda: Wrong((Wrong, None)),
]


@pytest.mark.parametrize("make", HELD)
def test_what_its_process_holds_or_does_not_tell_has_no_key(make: Callable[[], Any]) -> None:
    with pytest.raises(UnhashableArgumentError):
        Encoder().token([make()])


class Restless:
    def __reduce__(self) -> Any:
        return Restless, (), {"x": random.random()}


class AtRest:
    def __init__(self) -> None:
        self.x = {"a": {1, 2}}


def test_a_type_whose_key_does_not_last_is_told_once() -> None:
    with pytest.warns(UnstableKeyWarning, match="Restless has another key once it was pickled"):
        Encoder().token([Restless()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Encoder().token([Restless()])
        Encoder().token([AtRest()])


class Large:
    def __init__(self) -> None:
        self.array = np.zeros(4_000_000)

    def __reduce__(self) -> Any:
        return Large, (), self.__dict__


def test_a_large_object_is_not_copied_for_the_sake_of_a_warning() -> None:
    value = Large()
    tracemalloc.start()
    try:
        assert Encoder().token(value)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [neighbors.KDTree, neighbors.BallTree])
def test_asking_a_tree_of_neighbours_changes_no_key(kind: Any) -> None:
    points = np.arange(120.0).reshape(40, 3)
    tree, estimator = kind(points), neighbors.NearestNeighbors().fit(points)
    before = Encoder().token([tree, estimator])
    tree.query(points[:2])
    estimator.kneighbors(points[:2])
    assert (
        Encoder().token([tree, estimator]) == before == Encoder().token([kind(points), estimator])
    )
    assert_different_keys(tree, kind(points, metric="manhattan"), kind(points + 1))


@pytest.mark.parametrize("kind", [text.CountVectorizer, text.TfidfVectorizer])
def test_a_fitted_vectorizer_has_one_key(kind: Any) -> None:
    def fitted() -> Any:
        return kind(stop_words=["the", "a"]).fit(["the cat", "a dog"])

    kept = [fitted() for _ in range(3)]
    assert_same_key(*kept, pickle.loads(pickle.dumps(kept[0])))


def test_a_class_that_lies_about_itself_has_the_key_of_what_it_is() -> None:
    assert Encoder().token(mock.Mock(spec=pathlib.Path))
    assert Encoder().token(mock.Mock(spec=set)) != Encoder().token(set())


class Runs:
    def __reduce__(self) -> Any:
        return pytest.fail, ("data was unpickled",)


def test_data_in_a_plan_is_never_unpickled() -> None:
    version = bytes(sys.version_info[1:3])
    for protocol in (4, 5):
        for flag in (b"\0", b"\1", b"PLPYFN\x94\xc0\1"):
            data = flag + version + pickle.dumps(Runs(), protocol)
            plans = (
                pl.lit(data),
                pl.lit(pl.Series([data])),
                pl.col("a").is_in([data]),
                pl.lit({"function": data}),
                pl.lit(list(data)),
                pl.LazyFrame({"a": [data]}),
                pl.LazyFrame({"function": [list(data)]}),
                pl.scan_csv(io.BytesIO(data)),
            )
            for plan in plans:
                assert Encoder().token(plan) == Encoder().token(plan)
    assert Encoder().token(pl.lit(b"\xff\xff\xff\xff\x10\0\0\0"))


def test_categories_inside_of_lists_do_not_depend_on_what_came_before() -> None:
    def lists() -> Any:
        return pl.Series([["b", "a"]], dtype=pl.List(pl.Categorical))

    before = Encoder().token(lists())
    pl.Series(["z", "a"], dtype=pl.Categorical)
    assert Encoder().token(lists()) == before


def test_drawing_from_the_global_state_changes_no_key() -> None:
    value = stats.norm(0, 1)
    before = Encoder().token(value)
    np.random.rand()
    assert Encoder().token(value) == before
    assert Encoder().token(stats.norm(0, 2)) != before
    assert Encoder().token(stats.gamma(1)) != Encoder().token(stats.expon(1))


ORDINARY: list[Callable[[], Any]] = [
    lambda: np.random.PCG64(1),
    lambda: np.random.SeedSequence(3),
    lambda: pa.py_buffer(b"a"),
    lambda: pc.field("a") > 3,
    lambda: neighbors.KNeighborsClassifier(1).fit([[0], [1]], [0, 1]),
    type("Nowhere", (), {"__module__": None}),
    lambda: stats.multivariate_normal([0, 0]),
    lambda: stats.wishart(2),
    lambda: datetime.timezone.utc,
    decimal.getcontext,
    lambda: operator.itemgetter(1, "a"),
    lambda: random.Random(3),
]


@pytest.mark.parametrize("make", ORDINARY)
def test_ordinary_objects_have_a_key_and_no_warning(make: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnstableKeyWarning)
        assert Encoder().token(make()) == Encoder().token(make())


def test_the_path_in_a_named_tuple_counts_its_fields() -> None:
    with pytest.raises(UnhashableArgumentError) as refused:
        Encoder().token(Pair(1, {"q": [iter([])]}))
    assert refused.value.path == "[1]['q'][0]"


class Pair(typing.NamedTuple):
    a: int
    b: Any


@pytest.mark.parametrize("module", ["queue_model", "tempfiles", "asyncio_tools.locks"])
def test_modules_of_like_names_are_the_user_s(module: str) -> None:
    kind = type("Job", (), {"__module__": module})
    assert Encoder().token(kind())


class Dropping:
    """Drops what it made of itself, as many do for functions that do not pickle."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.made: Any = None

    def make(self) -> None:
        self.made = lambda x: x * self.scale

    def __getstate__(self) -> Any:
        return {"scale": self.scale}


def test_a_function_that_an_object_keeps_for_itself_and_does_not_pickle_does_not_count() -> None:
    used = Dropping(1)
    used.make()
    assert Encoder().token(used) == Encoder().token(Dropping(1)) != Encoder().token(Dropping(2))
    assert Encoder().token([used] * 40) == Encoder().token([Dropping(1)] * 40)
