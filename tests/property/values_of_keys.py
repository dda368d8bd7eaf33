"""Values of every kind, and an equality that is not the encoder's: the tests of keys share them."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import math
import pathlib
import re
import threading
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from s3kv_flow import register_key
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.token import Encoder


def token(value: Any) -> bytes:
    return Encoder().token(value)


def key(function: Any, *args: Any, **kwargs: Any) -> str:
    return CallKey(function, Identity(function)).of(args, kwargs)


def same(a: Any, b: Any) -> bool:
    """A typed structural equality: the oracle of the property tests."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return _matched(list(a.items()), list(b.items()))
    if isinstance(a, (set, frozenset)):
        return _matched(list(a), list(b))
    return bool(a == b)


def _matched(ours: list[Any], theirs: list[Any]) -> bool:
    if len(ours) != len(theirs):
        return False
    for one in ours:
        place = next((n for n, other in enumerate(theirs) if same(one, other)), None)
        if place is None:
            return False
        del theirs[place]
    return True


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers()
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, 1, True, "1", b"1", "", b"", 1j])
    | st.text(max_size=3)
    | st.text(min_size=60, max_size=70)
    | st.binary(max_size=3)
    | st.complex_numbers()
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=8,
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Config:
    a: int
    b: Any = None

    @functools.cached_property
    def total(self) -> int:
        return self.a


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int


class Plain:
    def __init__(self, a: Any) -> None:
        self.a = a


class Bare:
    @functools.cached_property
    def total(self) -> int:
        return 1


class Text(str):
    pass


class Keyed:
    def __init__(self, url: str) -> None:
        self.url, self.lock = url, threading.Lock()

    def __s3kv_key__(self) -> str:
        return self.url


class Client:
    def __init__(self, url: str) -> None:
        self.url, self.lock = url, threading.Lock()


register_key(Client, lambda client: client.url)

now = datetime.datetime(2026, 3, 29, 1, 30)
berlin, tokyo = zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Asia/Tokyo")
array = np.arange(12.0).reshape(3, 4)
padded = np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))
dirty = padded.copy()
dirty.view(np.uint8)[1] = 7

#: All of a row share a token, and no two rows do.
DISTINCT: list[list[Any]] = [
    [1, int("1")],
    [1.0],
    [True],
    [decimal.Decimal(1)],
    [decimal.Decimal("1.0")],
    [decimal.Decimal("1e9")],
    [decimal.Decimal("NaN"), decimal.Decimal("-NaN123")],
    [decimal.Decimal("sNaN"), decimal.Decimal("sNaN5")],
    [decimal.Decimal("-inf")],
    [np.int64(1), np.int64(2) - np.int64(1), np.longlong(1)],
    [np.uint64(1), np.ulonglong(1)],
    [np.float16(1)],
    [np.float32(1)],
    [np.float64(1)],
    [np.longdouble(1)],
    [np.bool_(True)],
    [np.complex64(1)],
    [np.complex128(1)],
    [np.float64("nan"), -np.float64("nan")],
    [np.float32("nan"), -np.float32("nan")],
    [np.datetime64("2020", "D")],
    [np.datetime64("2020", "s")],
    [np.int32(1)],
    [np.array(1)],
    ["1"],
    [b"1"],
    [bytearray(b"1")],
    [(1, 2)],
    [[1, 2]],
    [{1, 2}, {2, 1}],
    [frozenset({1, 2})],
    [{1: 2}],
    [{"1": 2}],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    [collections.OrderedDict(a=1, b=2)],
    [collections.OrderedDict(b=2, a=1)],
    [collections.Counter("ab"), collections.Counter("ba")],
    [collections.deque([1, 2])],
    [collections.deque([1, 2], 2)],
    [collections.defaultdict(list, a=1)],
    [collections.defaultdict(None, a=1)],
    [types.SimpleNamespace(a=1)],
    [0.0],
    [-0.0],
    [float("nan"), -float("nan")],
    [now],
    [now.replace(tzinfo=datetime.timezone.utc)],
    [now.replace(tzinfo=berlin)],
    [now.replace(tzinfo=berlin, fold=1)],
    [now.replace(tzinfo=berlin).astimezone(tokyo)],
    [now.date()],
    [now.time()],
    [datetime.timedelta(1), datetime.timedelta(hours=24)],
    [fractions.Fraction(1, 2), fractions.Fraction(2, 4)],
    [uuid.UUID(int=1)],
    [re.compile("a")],
    [re.compile("a", re.IGNORECASE)],
    [pathlib.Path("a"), pathlib.Path("./a")],
    [pathlib.PurePosixPath("a")],
    [pathlib.PureWindowsPath("a"), pathlib.PureWindowsPath("./a")],
    [ipaddress.ip_address("0.0.0.1")],
    [ipaddress.ip_address("::1")],
    [ipaddress.ip_network("::1")],
    [ipaddress.ip_interface("::1")],
    [range(0, 10, 2)],
    [slice(1, 2)],
    [Colour.RED],
    [Colour.BLUE],
    [Access.READ | Access.WRITE],
    [Pair(1, 2)],
    [Config(1), Config(1)],
    [Config(2)],
    [Slotted(1), Slotted(1)],
    [Plain(1), Plain(1)],
    [Plain([1])],
    [Text("1")],
    [Keyed("a"), Keyed("a")],
    [Client("a"), Client("a")],
    [int],
    [str],
    [Plain],
    [len],
    [functools.partial(max, 1)],
    [functools.partial(max, 2)],
    [lambda x: x + 1],
    [lambda x: x + 2],
    [
        array,
        array.copy(),
        np.asfortranarray(array),
        np.ascontiguousarray(array.T).T,
        array[::-1][::-1],
    ],
    [array.T],
    [array.astype("f4")],
    [array.astype(">f8")],
    [array.reshape(4, 3)],
    [np.array(["a"], "U2")],
    [np.array(["a"], "U8")],
    [padded, dirty],
    [np.array(["2020"], "M8[D]")],
    [np.array(["2020"], "M8[s]")],
    [np.array([1, None], dtype=object)],
    [np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 3], [0, 1])],
    [pd.Series([1, 2]), pd.concat([pd.Series([1]), pd.Series([2])], ignore_index=True)],
    [pd.Series([1, 2], name="n")],
    [pd.Series([1, 2], index=[0, 2])],
    [pd.Series([1, 2], dtype="Int64")],
    [pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame([[1, 2]], columns=["a", "b"])],
    [pd.DataFrame({"b": [2], "a": [1]})],
    [pd.DataFrame({"a": [1], "b": [2]}, index=["x"])],
    [pd.Series(pd.Categorical(["a"], ["a", "b"]))],
    [pd.Series(pd.Categorical(["a"], ["b", "a"]))],
    [pd.Series(["a", None], dtype=object)],
    [pd.Series(["a", None], dtype="string[python]")],
    [pd.Timestamp("2020")],
    [pd.NaT],
    [
        pl.DataFrame({"a": [1, 2]}),
        pl.concat([pl.DataFrame({"a": [n]}) for n in (1, 2)], rechunk=False),
    ],
    [pl.DataFrame({"a": [1, 2]}, schema={"a": pl.Int32})],
    [pl.Series("a", [1, 2])],
    [pl.Series(["u", "v"], dtype=pl.Categorical)],
    [pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"]))],
    [pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"]))],
    [
        pa.table({"a": [1, 2, 3]}).slice(1),
        pa.table({"a": [2, 3]}),
        pa.concat_tables([pa.table({"a": [2]}), pa.table({"a": [3]})]),
    ],
    [pa.table({"a": [2, 3]}).replace_schema_metadata({"k": "v"})],
    [pa.array([1, None]), pa.array([0, 1, None]).slice(1)],
    [pa.array(["a", None])],
    [pa.array([[1], None, []])],
]
