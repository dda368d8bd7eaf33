"""Keys of this scheme, written down: a change of the encoding cannot pass unseen.

If one of these fails, entries of everybody are missed after an update. Change `SCHEME` in
`keys/digest.py` and say so in the changelog, then write the new keys with
``python tests/golden/test_golden_keys.py``.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import logging
import pathlib
import threading
import typing
import urllib.parse
import uuid
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.digest import SCHEME
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.token import Encoder

GOLDEN = Path(__file__).with_name("keys.json")


def function(a: Any, b: int = 2, *rest: Any, c: Any = None, **more: Any) -> Any:
    if a:
        return [x + b for x in rest if x is not c]
    return f"{a!r} {more}"


class Level(enum.Enum):
    LOW = 1


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Options(typing.TypedDict):
    level: int


class Closes(typing.Protocol):
    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.5


class Slotted:
    __slots__ = ("slot",)


class Held(Slotted):
    def __init__(self, held: Any, slot: int) -> None:
        self.held, self.slot = held, slot


class Pair(typing.NamedTuple):
    a: int
    b: str = ""


class Planet(enum.Enum):
    EARTH = 1, 2

    def __new__(cls, mass: int, radius: int) -> Any:
        member = object.__new__(cls)
        member._value_ = mass * radius
        return member

    def _generate_next_value_(name: str, *_: Any) -> str:
        return name


@typing.final
class Final:
    @typing.final
    def method(self) -> int:
        return 1


class Implements(Closes):
    def close(self) -> None:
        pass


class Dispatches:
    @functools.singledispatchmethod
    def method(self, value: Any) -> int:
        return 1

    @method.register
    def _(self, value: int) -> int:
        return 2


def reads_a_class(path: Any) -> Any:
    return pathlib.Path(path) if isinstance(path, PurePosixPath) else path


reads_a_class.__module__ = "golden"
NUMBERS: list[Any] = [np.bool_, np.int8, np.int64, np.uint32, np.float16, np.float64, np.complex64]

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "negative": -(2**70),
    "huge": 2**4000,
    "float": 1.5,
    "nan": float("nan"),
    "minus zero": -0.0,
    "complex": 1 - 2j,
    "text": "ключ",
    "long text": "x" * 100,
    "surrogate": "\ud800",
    "bytes": b"\0\xff",
    "bytearray": bytearray(b"x"),
    "list": [1, "a", None],
    "floats": [0.5] * 20,
    "integers": list(range(20)),
    "texts": list("abcdefghijklm"),
    "texts with NUL": ["a\0", "\ud800", ""] * 4,
    "NaNs": [float("nan"), 1.0] * 6,
    "truths": [True, False] * 6,
    "nothing": [None] * 12,
    "mixture": [1, None, "a", 2.5, (1,), [2], {"a": 1}, True, 2**70, b"x"][:8] * 3,
    "rows": [(number, str(number)) for number in range(20)],
    "told by others": [
        *(decimal.Decimal(number) / 8 for number in range(20)),
        *(datetime.datetime(2024, 2, 29, 1, 30, number, 7) for number in range(20)),
        *(datetime.date(2024, 2, 1 + number) for number in range(20)),
        *(datetime.time(1, 2, 3, number, tzinfo=datetime.timezone.utc) for number in range(20)),
        *(datetime.timedelta(number, 1, 2) for number in range(20)),
        *(uuid.UUID(int=number) for number in range(20)),
        *(PurePosixPath(f"a/{number}") for number in range(20)),
        *(str(number).encode() for number in range(20)),
        *({number} for number in range(20)),
        *(range(number) for number in range(5)),
    ],
    "numpy scalars": [kind(number % 2) for number in range(20) for kind in NUMBERS],
    "dataclasses": [Point(number, number / 2) for number in range(20)],
    "named tuples": [Pair(number, str(number)) for number in range(20)],
    "exceptions": [ValueError("no", number) for number in range(20)],
    "namespaces": [Held(number, slot=number) for number in range(20)],
    "sets": [{str(number), "x"} for number in range(20)],
    "deep": [[[[[[[[[[number]]]]]]]], []] for number in range(20)],
    "names that are integers": [{number: {number + 1: "x"}, 0: None} for number in range(20)],
    "names of their own": [{f"k{number}": b"x", "all": number} for number in range(20)],
    "small tree": {"layers": [64, 64], "of": {"rate": 0.5, "name": None}, "on": True},
    "small lists": ([1, [2, [3]]], 4),
    "containers": [
        *(collections.OrderedDict(a=number) for number in range(20)),
        *(collections.Counter("ab" * number) for number in range(20)),
        *(collections.deque([number], 3) for number in range(20)),
        *(collections.defaultdict(None, {"a": number}) for number in range(20)),
    ],
    "ragged rows": [list(range(number)) for number in range(20)],
    "table": [{"b": number, "a": [number / 2, None]} for number in range(20)],
    "few records": [{"b": number, "a": str(number)} for number in range(10)],
    "records of two shapes": [{"a": 1}, {"b": 2}, {"a": 3}] * 10,
    "tree": {f"k{number}": {"a": {"b": [{"c": number}]}} for number in range(20)},
    "wide records": [
        {f"f{place}": {"a": place, "b": [1, 2, 3]} for place in range(40)} for _ in range(20)
    ],
    "more than is looked into": [[[number] * 10] * 100 for number in range(20)],
    "plain": {
        "integers": [0, -1, -33, 127, 128, 2**16, 2**32, 2**63, -(2**63), 2**64 - 1],
        "numbers": [0.0, -0.0, 1e16, 5e-324, float("inf")],
        "texts": ["x" * size for size in (0, 31, 32, 256, 70_000)],
        "others": [None, True, [], {}, "\uffff", "\U00010000"],
        "names": dict.fromkeys(("𐀀", "\uffff", "b", "", "aa", "a"), 0),
        **dict.fromkeys("abcde"),
    },
    "numbered": {number: {"a": number} for number in range(20)},
    "by pairs": {(number, str(number)): {"a": number} for number in range(20)},
    "arrays": [np.arange(number, dtype="<i2") for number in range(10)],
    "tuple": (1, (2, (3,))),
    "dict": {"b": 1, "a": [2], 3: 4},
    "set": {1, "a", (2,)},
    "frozenset": frozenset({b"x"}),
    "large set": set(range(20)),
    "pairs": {(number, str(number)) for number in range(20)},
    "lock factory": threading.Lock,  # a class since Python 3.13
    "logger adapter": logging.LoggerAdapter(logging.getLogger("a.b"), {"run": 1}),
    "decimal context": decimal.Context(prec=5),
    "kept results": urllib.parse.urlsplit,  # since Python 3.11
    "ordered": collections.OrderedDict(a=1),
    "deque": collections.deque([1], 3),
    "counter": collections.Counter("aab"),
    "date": datetime.date(2026, 1, 2),
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
    "timedelta": datetime.timedelta(1, 2, 3),
    "decimal": decimal.Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "range": range(1, 10, 3),
    "enum": Level.LOW,
    "enum with its own __new__": Planet.EARTH,
    "final class": Final,
    "class of a protocol": Implements,
    "class that dispatches": Dispatches,
    "function of pathlib": reads_a_class,
    "literal": typing.Literal["a", 1],
    "special forms": [typing.Literal, typing.Union, typing.Optional],
    "flag": Access.READ | Access.WRITE,
    "enum class": Level,
    "typed dict class": Options,
    "protocol class": Closes,
    "dataclass": Point(1),
    "named tuple": Pair(1),
    "typing": [typing.Any, typing.Annotated[int, "x"], typing.Optional[int], list[int]],
    "path": pathlib.PurePosixPath("a/b"),
    "installed class": collections.abc.Mapping,
    "builtin": len,
    "array": np.arange(6, dtype="<i4").reshape(2, 3),
    "array of records": np.zeros(2, [("a", "<i2"), ("b", "<f8")]),
    "array of times": np.array(["2020-01-01"], "M8[s]"),
    "numpy scalar": np.float32(1.5),
    "dtype": np.dtype("<f8"),
    "frame": pd.DataFrame({"a": [1, 2], "b": [0.5, None]}),
    "series": pd.Series([1, 2], index=["x", "y"], name="s"),
    "timestamp": pd.Timestamp("2020-01-01", tz="UTC").as_unit("s"),
    "categorical": pd.Series(pd.Categorical(["x"], ["y", "x"])),
    "nullable": pd.Series([1, None], dtype="Int64"),
    "arrow table": pa.table({"a": [1, None], "s": ["x", "y"]}),
    "arrow list": pa.array([[1], [], None]),
    "polars frame": pl.DataFrame({"a": [1, 2], "s": ["x", None]}),
    "polars enum": pl.Series("e", ["p"], dtype=pl.Enum(["p", "q"])),
}


for _kind in (
    *(Level, Access, Options, Closes, Point, Pair, Planet, Final, Implements, Dispatches),
):
    _kind.__module__ = "golden"  # whether this file is run or imported


def keys() -> dict[str, str]:
    found = {name: Encoder().token(value).hex() for name, value in VALUES.items()}
    call = CallKey(function, Identity(function))
    found["call"] = call.of((1, 2, 3), {"c": 4, "d": 5})
    found["call with defaults"] = call.of((1,), {})
    return {"scheme": SCHEME.decode(), **found}


@pytest.mark.parametrize("name", [*VALUES, "call", "call with defaults", "scheme"])
def test_golden_key(name: str) -> None:
    assert keys()[name] == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(keys(), indent=1) + "\n")
