"""Every codec keeps the contract: ours, a declared model's, and one of an installed package."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest

import s3kv_flow as s3kv
from s3kv_flow.codecs.arrow import ArrowCodec, PolarsCodec
from s3kv_flow.codecs.numpy import NumpyCodec
from s3kv_flow.codecs.pandas import PandasCodec
from s3kv_flow.codecs.pickle import PickleCodec
from s3kv_flow.codecs.plain import BytesCodec, JSONCodec
from s3kv_flow.testing import memory_store
from s3kv_flow.testing.codecs import CodecContract


@dataclasses.dataclass
class Report:
    rows: int
    when: datetime.datetime
    tags: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    pair: tuple[int, str] = (1, "a")
    raw: Any = None


@attrs.define
class Point:
    x: float
    y: float


class Struct(msgspec.Struct):
    name: str
    inner: Report | None = None


class Model(pydantic.BaseModel):
    name: str
    when: datetime.date
    sizes: set[int] = set()


WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, datetime.timezone.utc)


class TestBytes(CodecContract):
    codec = BytesCodec()
    values = (b"", b"abc", bytes(range(256)) * 10)


class TestJSON(CodecContract):
    codec = JSONCodec()
    values = (None, True, 0, -1.5, "", "\ud800 é", [], {}, {"a": [1, {"b": None}]}, 10**400)


class TestNumpy(CodecContract):
    codec = NumpyCodec()
    values = (
        np.arange(12.0).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.array(7),
        np.float32(1.5),
        np.array([]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    )


class TestPandas(CodecContract):
    codec = PandasCodec()
    values = (
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([3, 4], name="i")),
        pd.Series([1.0, float("nan")], name="s"),
        pd.DataFrame({"c": pd.Categorical(["u", "v", "u"])}),
        pd.DataFrame({"t": pd.date_range("2020", periods=3, tz="Europe/Berlin")}),
        pd.DataFrame(),
    )


class TestArrow(CodecContract):
    codec = ArrowCodec()
    values = (pa.table({"a": [1, None], "b": [["x"], []]}), pa.table({}))


class TestPolars(CodecContract):
    codec = PolarsCodec()
    values = (pl.DataFrame({"a": [1, None], "b": ["x", "y"]}), pl.Series("s", [1.5, 2.5]))


class TestPickle(CodecContract):
    codec = PickleCodec()
    values = ({1, 2}, (1, "a"), Report(1, WHEN), 1 + 2j, np.array([{}, None], dtype=object))

    def test_other_values_are_declined(self) -> None:
        with open(__file__, encoding="utf-8") as file:
            assert self.codec.encode(file) is None


class TestDataclassModel(CodecContract):
    codec = s3kv.ModelCodec(Report)
    values = (Report(1, WHEN), Report(-1, WHEN, {"a": [0.5]}, (2, "é"), [1, None]))


class TestAttrsModel(CodecContract):
    codec = s3kv.ModelCodec(Point)
    values = (Point(1.0, -0.0),)


class TestMsgspecModel(CodecContract):
    codec = s3kv.ModelCodec(Struct)
    values = (Struct("a"), Struct("b", Report(1, WHEN)))


class TestPydanticModel(CodecContract):
    codec = s3kv.ModelCodec(Model)
    values = (Model(name="a", when=WHEN.date()), Model(name="b", when=WHEN.date(), sizes={1, 2}))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Report(1, WHEN, raw=(1, 2)), id="a tuple in a field of any type"),
        pytest.param(Report(True, WHEN), id="a bool for an int"),
        pytest.param(Point(1, 2), id="an int for a float"),
        pytest.param(Point(float("nan"), 0.0), id="no JSON for NaN"),
    ],
)
def test_models_decline_what_would_come_back_otherwise(value: Any) -> None:
    assert s3kv.ModelCodec(type(value)).encode(value) is None


def test_a_function_annotated_with_a_model_needs_no_keyring() -> None:
    kv = memory_store()

    @kv.cached
    def report(rows: int) -> Report:
        return Report(rows, WHEN)

    assert report(1) == report(1) == Report(1, WHEN)
    assert report.cache_info().hit_count == 1
    entry = report.peek(1)
    assert entry is not None
    assert entry.codec.startswith("model:")


def test_a_codec_that_is_given_is_known_to_readers() -> None:
    class Upper:
        name, safe, aliases = "tests.upper", True, False

        def encode(self, value: Any) -> s3kv.Encoded | None:
            return s3kv.Encoded([value.upper().encode()]) if type(value) is str else None

        def decode(self, arguments: Any, buffers: Any) -> str:
            return str(buffers[0], "utf-8").lower()

    kv = memory_store()
    shout = kv.cached(lambda: "hello", name="shout", version=1, codec=Upper())
    assert shout() == shout() == "hello"
    entry = shout.peek()
    assert entry is not None
    assert entry.codec == "tests.upper"


def test_names_of_our_codecs_are_not_taken() -> None:
    class Fake(BytesCodec):
        name = "pickle"

    with pytest.raises(s3kv.ConfigurationError, match="codec of ours"):
        s3kv.register_codec(Fake())


def test_installed_packages_add_codecs(tmp_path: Path) -> None:
    (tmp_path / "roman.py").write_text(
        "import s3kv_flow as s3kv\n"
        "class Roman:\n"
        "    def __init__(self, n): self.n = n\n"
        "class RomanCodec:\n"
        "    name, safe, aliases = 'roman', True, False\n"
        "    def encode(self, value):\n"
        "        return s3kv.Encoded([str(value.n).encode()]) if type(value) is Roman else None\n"
        "    def decode(self, arguments, buffers):\n"
        "        return Roman(int(bytes(buffers[0])))\n"
    )
    info = tmp_path / "roman-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: roman\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[s3kv_flow.codecs]\nroman = roman:RomanCodec\nbroken = absent:Codec\n"
    )
    script = (
        "import roman\n"
        "from s3kv_flow.testing import memory_store\n"
        "f = memory_store().cached(lambda n: roman.Roman(n), name='f', version=1)\n"
        "print(f(4).n, f(4).n, f.peek(4).codec, f.cache_info().hit_count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "4 4 roman 1\n", done.stderr
    assert "'broken' of an installed package is left out" in done.stderr
