"""Types of packages whose storage is not their value."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import s3kv_flow as s3kv
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key, assert_stable_key

FORMATS = ["csr", "csc", "coo", "bsr", "dok", "lil", "dia"]
DENSE = np.array([[1.0, 0, 2], [0, 0, 3], [4, 0, 0]])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_matrices_count_by_value(kind):
    rows, columns, data = [0, 0, 1, 2], [2, 0, 2, 0], [2.0, 1.0, 3.0, 4.0]
    shuffled = kind((data, (rows, columns)), shape=(3, 3))
    unsorted = kind(
        (np.array([2.0, 1, 3, 4]), np.array([2, 0, 2, 0]), np.array([0, 2, 3, 4])), shape=(3, 3)
    )
    wide = kind(DENSE)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert_same_key(kind(DENSE), shuffled, unsorted, wide)
    assert not unsorted.has_sorted_indices  # looking at it has not changed it


def test_asking_a_sparse_matrix_does_not_change_its_key():
    matrix = sparse.csr_matrix(DENSE)
    before = s3kv.testing.keys.token(matrix)
    assert matrix.has_canonical_format
    assert s3kv.testing.keys.token(matrix) == before


def test_sparse_matrices_differ_by_format_shape_type_and_value():
    made = [sparse.csr_matrix(DENSE).asformat(name) for name in FORMATS]
    other = DENSE.copy()
    other[0, 0] = 9
    assert_different_keys(
        *made,
        sparse.csr_array(DENSE),
        sparse.csr_matrix(DENSE.astype("f4")),
        sparse.csr_matrix(other),
        sparse.csr_matrix(DENSE[:2]),
        DENSE,
    )


@pytest.mark.parametrize("name", FORMATS)
def test_each_sparse_format_is_stable(name):
    assert_stable_key(sparse.csr_matrix(DENSE).asformat(name))


def test_frames_are_told_apart_by_value_whatever_way_their_columns_lie():
    rows = np.arange(3000 * 40.0).reshape(3000, 40)
    frame = pd.DataFrame(rows, copy=False)
    in_columns = pd.DataFrame(np.asfortranarray(rows), copy=False)
    one_by_one = pd.DataFrame({place: rows[:, place].copy() for place in range(40)})
    one_by_one.columns = frame.columns
    assert_same_key(frame, in_columns, one_by_one)
    for place in ((0, 0), (2999, 39), (1500, 7)):
        changed = rows.copy()
        changed[place] += 1
        assert_different_keys(pd.DataFrame(changed, copy=False), frame)
    narrow = in_columns.copy()
    narrow[7] = narrow[7].astype("f4")  # as wide as 32 bits hold: equal, and of another type
    assert (narrow == frame).all(axis=None)
    assert_different_keys(narrow, frame)


def test_polars_integers_of_128_bits_have_keys():
    def series(*values):
        return pl.Series("a", values, dtype=pl.Int128)

    assert_same_key(series(1, 2**100), series(1, 2**100))
    assert_different_keys(series(1), series(2), pl.Series("a", [1]))


@pytest.mark.parametrize(
    "values", [["a", "b", "a"], ["a", None], ["a", 1], ["é", "\ud800"], ["", "\0", "a\0b"], []]
)
def test_arrays_of_text_count_by_value(values):
    array = np.array(values, dtype=object)
    assert_same_key(
        array, np.array(list(values), dtype=object), np.array([*values, "x"], dtype=object)[:-1]
    )
    assert_different_keys(array, np.array([*values, "x"], dtype=object))


def test_arrays_of_text_tell_text_from_its_subclasses():
    class Text(str):
        pass

    assert_different_keys(
        np.array(["a", "a"], dtype=object),
        np.array(["a", Text("a")], dtype=object),
        np.array([Text("a"), "a"], dtype=object),
        np.array(["a", np.str_("a")], dtype=object),
        np.array(["a", "a"]),
        np.array(["a", "a", "a"], dtype=object),
        np.array(["aa", ""], dtype=object),
        np.array(["", "aa"], dtype=object),
    )


def test_blake3_keys_are_other_keys_and_as_good():
    kv = s3kv.testing.memory_store()

    def step(x):
        return x

    fast, strong = kv.cached(step), kv.cached(key_hash="blake3")(step)
    array = np.arange(100_000)
    for value in (1, "x" * 1000, array, {"a": [array, {1, 2}]}):
        assert len(fast.key(value).rpartition("/")[2]) == 32
        assert len(strong.key(value).rpartition("/")[2]) == 64
    assert strong(array)[-1] == strong(array.copy())[-1] == 99_999
    assert strong.cache_info().hits == {"memory": 1}
    assert strong.contains(array)
    assert not fast.contains(array)
    with pytest.raises(s3kv.ConfigurationError, match="key_hash"):
        kv.cached(key_hash="md5")(step)


def test_what_msgspec_learns_of_a_class_is_not_in_its_key() -> None:

    @dataclasses.dataclass
    class Seen:
        x: int

    before = Encoder().token(Seen)
    msgspec.json.decode(b'{"x": 1}', type=Seen)
    assert "__msgspec_cache__" in vars(Seen)
    assert Encoder().token(Seen) == before


def test_a_file_of_dags_is_known_by_its_name_wherever_it_lies(tmp_path):
    """Airflow loads it under a name with the digest of its path."""
    import importlib.util
    import sys

    import s3kv_flow as s3kv

    text = "class Own:\n    pass\n\ndef step(x):\n    return Own()\n"
    keys = []
    for folder, prefix in (("a", "0" * 40), ("b", "f" * 40)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "pipeline.py"
        file.write_text(text)
        name = f"unusual_prefix_{prefix}_pipeline"
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        keys.append(s3kv.testing.memory_store().cached(module.step).key(module.Own()))
    assert keys[0] == keys[1]
    assert keys[0].startswith("cache/pipeline.step/")


def test_users_types_can_be_tested_before_anything_is_cached(tmp_path):
    script = tmp_path / "first.py"
    script.write_text(
        "from s3kv_flow.testing import assert_same_key, assert_stable_key\n"
        "class Own:\n    x = 1\n"
        "assert_same_key(Own(), Own())\n"
        "assert_stable_key(Own())\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=60)
