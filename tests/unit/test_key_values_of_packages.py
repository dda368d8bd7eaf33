"""Values of packages that were once taken for others, or for others once they had been used."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pendulum
import polars as pl
import pyarrow as pa
import pyrsistent
import pytest
import sympy
import xarray as xr
from sklearn.utils import Bunch

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key, assert_stable_key


def _grouped(second: list[str]) -> Any:
    return pd.DataFrame({1: ["x", "y"], 2: second, 3: [1, 2]}).groupby([1, 2]).sum()


@pytest.mark.parametrize("names", [[1, 2], ["x", 0], [None, 0], [True, "x"], [1, 0]], ids=str)
def test_each_level_of_an_index_counts_whatever_its_name(names: list[Any]) -> None:
    assert_different_keys(_grouped(["p", "q"]), _grouped(["P", "Q"]))
    levels = [["a", "b"], ["c", "d"]]
    first = pd.MultiIndex.from_arrays(levels, names=names)
    assert_different_keys(
        first,
        pd.MultiIndex.from_arrays([levels[0], ["c", "e"]], names=names),
        pd.MultiIndex.from_arrays([["a", "e"], levels[1]], names=names),
    )
    assert_same_key(first, pd.MultiIndex.from_arrays(levels, names=names))


def test_labels_of_text_are_the_same_in_an_index_of_several_levels_too() -> None:
    text = pd.Index(["a", "b"], dtype="str")
    other = pd.Index(["a", "b"], dtype=object)
    assert_same_key(*(pd.MultiIndex.from_arrays([one, [1, 2]]) for one in (text, other)))


def test_how_categories_are_held_does_not_count() -> None:
    days = pd.date_range("2020", periods=3)
    assert_same_key(pd.Categorical(days), pd.Categorical(list(days)))
    codes = [0, 2]
    assert_same_key(
        *(
            pd.Categorical.from_codes(codes, categories=some)
            for some in (range(3), [0, 1, 2], pd.Index([0, 1, 2], name="x"))
        )
    )
    assert_different_keys(
        *(pd.Categorical.from_codes(codes, categories=some) for some in ([0, 1, 2], [0, 1, 3]))
    )


def _used_groups(value: Any) -> None:
    value.sum()


@pytest.mark.parametrize(
    ("make", "use"),
    [
        (lambda: pd.DataFrame({"a": [1, 1], "v": [1, 2]}).groupby("a"), _used_groups),
        (lambda: pd.Series([1, 2, 3]).rolling(2), _used_groups),
        (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda value: value.fill_value),
        (lambda: Bunch(a=1), lambda value: value.a),
    ],
    ids=["groups", "rolling", "masked", "bunch"],
)
def test_use_and_copies_change_no_key(make: Callable[[], Any], use: Callable[[Any], Any]) -> None:
    value = make()
    token = Encoder().token(value)
    use(value)
    assert Encoder().token(value) == token
    assert_same_key(make(), copy.deepcopy(value), pickle.loads(pickle.dumps(value)))


def test_hashing_a_masked_array_does_not_change_it() -> None:
    value = np.ma.array([1, 2], mask=[0, 1])
    Encoder().token(value)
    assert value.astype(float).fill_value == 1e20


def test_what_a_subclass_of_a_masked_array_holds_counts() -> None:
    class Quantity(np.ma.MaskedArray[Any, Any]):
        units = ""

    def quantity(units: str) -> Any:
        value = np.ma.array([1.0, 2], mask=[0, 1]).view(Quantity)
        value.units = units
        return value

    assert_different_keys(quantity("m"), quantity("km"), np.ma.array([1.0, 2], mask=[0, 1]))
    assert_same_key(quantity("m"), quantity("m"), copy.deepcopy(quantity("m")))


def _nested_polars(nanoseconds: int, beside: Any, kind: Any) -> Any:
    stamp = pl.Series([nanoseconds, None]).cast(kind)
    return pl.DataFrame({"c": beside, "t": stamp}).to_struct("s")


def _in_lists(held: Any) -> Any:
    frame = pl.DataFrame({"group": [0, 1], "l": held})
    lists = frame.group_by("group", maintain_order=True).agg("l")["l"]
    return pl.concat([lists, pl.Series("l", [[], None], dtype=lists.dtype)])


@pytest.mark.parametrize(
    "kind", [pl.Datetime("ns"), pl.Duration("ns"), pl.Time, pl.Datetime("ns", "UTC")], ids=str
)
@pytest.mark.parametrize(
    "beside",
    [pl.Series(["a", "b"], dtype=pl.Categorical), pl.Series([1, 2], dtype=pl.Int128)],
    ids=["categorical", "int128"],
)
def test_nanoseconds_count_beside_what_arrow_does_not_know(kind: Any, beside: Any) -> None:
    one, other = (_nested_polars(number, beside, kind) for number in (1001, 1999))
    assert_different_keys(one, other)
    lists = [_in_lists(held) for held in (one, other)]
    assert_different_keys(*lists, lists[0][:3])
    assert_same_key(one, pl.concat([one[:1], one[1:]], rechunk=False))
    assert_same_key(lists[0], pl.concat([lists[0][:2], lists[0][2:]], rechunk=False))


def _arrow_holders(value: Any) -> dict[str, Any]:
    one = pa.array([value], pa.time64("ns"))
    return {
        "map": pa.array([[("a", value)]], pa.map_(pa.string(), pa.time64("ns"))),
        "keys": pa.array([[(value, 1)]], pa.map_(pa.time64("ns"), pa.int64())),
        "views": pa.array([[value]], pa.list_view(pa.time64("ns"))),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), one),
        "sparse": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [one]),
        "dense": pa.UnionArray.from_dense(
            pa.array([0, 0], pa.int8()), pa.array([0, 0], pa.int32()), [one]
        ),
    }


@pytest.mark.parametrize("name", _arrow_holders(1))
def test_nanoseconds_count_in_whatever_arrow_holds_them(name: str) -> None:
    assert_different_keys(_arrow_holders(1001)[name], _arrow_holders(1999)[name])


def test_dictionaries_of_structures_lie_in_chunks_too() -> None:
    array = pa.DictionaryArray.from_arrays([0, 1, 0], pa.array([{"a": 1}, {"a": 2}]))
    assert_same_key(array, pa.chunked_array([array[:1], array[1:]]))


def test_dates_that_python_has_not_have_a_key() -> None:
    late = pa.array([[("a", 10**12)]], pa.map_(pa.string(), pa.timestamp("s")))
    assert_same_key(late, pa.concat_arrays([late]))


def test_the_fold_counts_though_a_package_forgets_to_pickle_it() -> None:
    first, second = (
        pendulum.datetime(2020, 10, 25, 2, 30, tz="Europe/Berlin", fold=fold) for fold in (0, 1)
    )
    assert first.offset != second.offset
    assert_different_keys(first, second)
    assert_different_keys([first] * 40, [second] * 40)
    assert_same_key(first, copy.deepcopy(first))


def test_a_set_that_pickles_a_list_has_no_order() -> None:
    assert_same_key(pyrsistent.s(*"abcde"), pyrsistent.s(*"edcba"))
    assert_different_keys(pyrsistent.s(*"abcde"), pyrsistent.s(*"abcdx"), pyrsistent.v(*"abcde"))
    assert_different_keys(pyrsistent.v(*"ab"), pyrsistent.v(*"ba"))
    assert_stable_key(pyrsistent.s("a", "b", "c"))


def _dataset(**options: Any) -> Any:
    coords = {"x": [1, 2], "t": ("y", pd.date_range("2020", periods=3))}
    data = {"a": (("x", "y"), np.arange(6.0).reshape(2, 3))}
    return xr.Dataset(data, coords=coords, **options)


def test_looking_at_a_dataset_changes_no_key() -> None:
    first, second = _dataset(), _dataset()
    token = Encoder().token(first)
    for look in (
        repr,
        lambda one: one.mean(),
        lambda one: one.a.encoding,
        lambda one: one.x.attrs,
        lambda one: one._repr_html_(),
        lambda one: xr.concat([one, one], "x"),
        lambda one: one.identical(one.copy()),
        lambda one: one.chunk({"x": 1}).compute(),
    ):
        look(first)
        assert Encoder().token(first) == token
    assert_same_key(first, second, first.copy(), pickle.loads(pickle.dumps(first)))
    assert_same_key(first.a, second.a, copy.deepcopy(second.a))
    assert_stable_key(first)


def test_all_of_a_dataset_counts() -> None:
    one = _dataset()
    named = _dataset()
    named.a.attrs["unit"] = "m"
    assert_different_keys(
        *(one, one.a, one.a.variable, one.a.rename("b"), one.assign(a=one.a + 1), named),
        *(one.assign_coords(x=[1, 3]), one.transpose("y", "x"), _dataset(attrs={"unit": "m"})),
    )


def test_looking_at_the_graph_of_a_lazy_array_changes_no_key() -> None:
    def made(number: int) -> Any:
        return da.from_array(np.arange(16.0).reshape(4, 4), chunks=2) + number

    used = made(1)
    token = Encoder().token(used)
    repr(list(used.dask))
    used.compute()
    assert token == Encoder().token(used) == Encoder().token(made(1))
    assert_different_keys(used, made(2))


def test_the_domain_of_a_polynomial_counts_and_undefined_functions_do_by_name() -> None:
    x = sympy.Symbol("x")
    options: list[dict[str, Any]] = [{}, {"modulus": 5}, {"modulus": 2}, {"domain": "QQ"}]
    assert_different_keys(
        *(sympy.Poly(x**2 + 1, x, **one) for one in (*options, {"extension": sympy.I}))
    )
    assert_same_key(sympy.Poly(x**2 + 1, x), sympy.Poly(1 + x**2))
    assert_stable_key(sympy.Function("f")(x).diff(x))
    assert_different_keys(
        *(sympy.Function(name, **one)(x) for name in "fg" for one in ({}, {"real": True}))
    )


class _Node:
    def __init__(self, name: str) -> None:
        self.name, self.all = name, [self]

    def __reduce__(self) -> Any:
        return _Node.__new__, (_Node,), vars(self)  # a copy is of a class that was not met yet


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")
def test_types_that_all_reach_each_other_are_compared_with_copies_for_a_moment_only() -> None:
    kinds = [type(f"_Node{number}", (_Node,), {}) for number in range(10)]
    nodes = [kind(f"n{number}") for number, kind in enumerate(kinds)]
    for node in nodes:
        node.all.extend(nodes)
    visits = 0
    visit = Encoder._compound

    class Counting(Encoder):
        def _compound(self, value: Any) -> bytes:
            nonlocal visits
            visits += 1
            return visit(self, value)

    Counting().token(nodes[0])
    assert visits < 10_000


def test_a_query_that_would_be_run_is_refused() -> None:
    query_set = type("QuerySet", (), {"__module__": "django.db.models.query"})
    own = type("Own", (query_set,), {"__module__": __name__})
    for kind in (query_set, own):
        with pytest.raises(UnhashableArgumentError, match="no stable key"):
            Encoder().token(kind())
