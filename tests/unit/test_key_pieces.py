"""What is made of a value for its key alone is made in pieces, which take little memory and do not show."""

from __future__ import annotations

import decimal
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from s3kv_flow.keys.handlers import numpy as numpy_keys
from s3kv_flow.keys.handlers import pandas as pandas_keys
from s3kv_flow.keys.handlers import polars as polars_keys
from s3kv_flow.keys.handlers import pyarrow as pyarrow_keys
from s3kv_flow.keys.token import Encoder

SIZE = 2_000_000
THIRD = np.arange(SIZE) % 3 == 0


def numbers() -> Any:
    return np.arange(SIZE) * 1.0


LARGE: dict[str, Callable[[], Any]] = {
    "nullable": lambda: pd.array(np.arange(SIZE), dtype="Int64"),
    "nullable with missing": lambda: pd.arrays.IntegerArray(np.arange(SIZE), THIRD.copy()),
    "categorical": lambda: pd.Categorical.from_codes(THIRD.astype("int8"), ["a", "b"]),
    "masked": lambda: np.ma.array(numbers(), mask=THIRD),
    "long doubles": lambda: np.zeros(SIZE, np.longdouble),
    "arrow with nulls": lambda: pa.array(numbers(), mask=THIRD),
    "arrow in chunks": lambda: pa.chunked_array([pa.array(numbers(), mask=THIRD)] * 2)[1:],
    "arrow text": lambda: pa.array([f"text {n}" for n in range(SIZE // 4)]).cast(pa.large_string()),
    "arrow booleans": lambda: pa.chunked_array([THIRD, THIRD]),
    "polars": lambda: pl.DataFrame({"a": numbers(), "b": THIRD}),
    "sparse": lambda: sparse.diags_array(numbers()).tocsr(),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_key_takes_little_memory_beyond_the_argument(name: str) -> None:
    value = LARGE[name]()
    Encoder().token(value)  # what is imported by then is not the key's
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        assert Encoder().token(value)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
        assert pa.total_allocated_bytes() - before < 6_000_000
    finally:
        tracemalloc.stop()


def _in_chunks(array: Any) -> Any:
    return pa.chunked_array([array[:3], array[3:3], array[3:4], array[4:]], array.type)


ARROW: dict[str, Any] = {
    "numbers": pa.array([1.5, None, 2.5, *range(20)]),
    "booleans": pa.array([True, None, False] * 5),
    "text": pa.array(["a", None, "", "bcd", "ä"] * 4),
    "large bytes": pa.array([b"a", None, b"", b"bcd"] * 4, pa.large_binary()),
    "text views": pa.array(["a", None, "longer than twelve bytes"] * 4, pa.string_view()),
    "decimals": pa.array([decimal.Decimal("1.50"), None] * 5),
    "fixed bytes": pa.array([b"abc", None, b"def"] * 4, pa.binary(3)),
    "lists": pa.array([[1, 2], None, [], [3, None]] * 4),
    "fixed lists": pa.array([[1, 2], None, [3, None]] * 4, pa.list_(pa.int8(), 2)),
    "lists of lists of text": pa.array([[["a"], None], [["b", None], []], None] * 4),
    "structs": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}] * 4),
    "categories": pa.array(["a", "b", None, "a"] * 4).dictionary_encode(),
    "categories in structs": pa.StructArray.from_arrays(
        [pa.array(["a", "b", None, "a"] * 4).dictionary_encode()], ["c"]
    ),
    "maps": pa.array([[("a", 1)], None, []] * 4, pa.map_(pa.string(), pa.int64())),
    "unions": pa.UnionArray.from_sparse(
        pa.array([0, 1] * 6, pa.int8()), [pa.array(range(12)), pa.array(["x"] * 12)]
    ),
    "nulls": pa.nulls(12),
    "extension": pa.array([b"0123456789abcdef"] * 9, pa.uuid()),
}


@pytest.mark.parametrize("name", ARROW)
def test_pieces_chunks_and_slices_of_arrow_data_do_not_show(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = ARROW[name]
    token = Encoder().token(array)
    longer = pa.concat_arrays([array[:2], array, array[:3]])
    same = [_in_chunks(array), longer[2:-3], _in_chunks(longer)[2:-3], pa.chunked_array([array])]
    assert [Encoder().token(one) for one in same] == [token] * len(same)
    monkeypatch.setattr(pyarrow_keys, "ROWS", 2)
    assert [Encoder().token(one) for one in same] == [token] * len(same)
    assert Encoder().token(longer) != token != Encoder().token(array[:-1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.array([1, None, 3, 4, None], dtype="Int32"),
        lambda: pd.Categorical(["a", "b", None, "a", "c"]),
        lambda: np.ma.array(
            np.arange(12.0).reshape(3, 4), mask=np.arange(12).reshape(3, 4) % 5 == 0
        ),
        lambda: np.ma.array(np.arange(12).reshape(3, 4).T, mask=[[0, 1, 0]] * 4),
        lambda: np.arange(7, dtype=np.longdouble),
        lambda: sparse.csr_array(np.eye(5)),
        lambda: pl.Series(["a", "b", None], dtype=pl.Categorical),
    ],
    ids=["nullable", "categorical", "masked", "masked across", "long double", "sparse", "polars"],
)
def test_pieces_of_arrays_do_not_show(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Encoder().token(make())
    monkeypatch.setattr(numpy_keys, "PIECE_VALUES", 2)
    assert Encoder().token(make()) == token


def test_runs_of_an_index_and_of_categories_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pandas_keys, "ROWS", 2)
    monkeypatch.setattr(polars_keys, "ROWS", 2)
    pairs = [("a", 1), ("b", 2), ("a", 3), ("c", 1), ("d", 5)]
    others = [*pairs[:4], ("d", 6)]
    for make in (
        pd.MultiIndex.from_tuples,
        lambda some: pl.Series([name + str(number) for name, number in some], dtype=pl.Categorical),
    ):
        token = Encoder().token(make(pairs))
        assert Encoder().token(make(list(pairs))) == token
        assert token not in (Encoder().token(make(others)), Encoder().token(make(pairs[:4])))


def test_bytes_under_nulls_do_not_count() -> None:
    text = pa.array(["abc", "hidden", "de"])
    validity = pa.py_buffer(bytes([0b101]))
    hidden = pa.Array.from_buffers(pa.string(), 3, [validity, *text.buffers()[1:]])
    assert hidden.to_pylist() == ["abc", None, "de"]
    assert Encoder().token(hidden) == Encoder().token(pa.array(["abc", None, "de"]))
