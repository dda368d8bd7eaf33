"""What Numba compiles. Not among the other tests, for its versions of NumPy are not theirs: `nox -s numba`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key, assert_stable_key


def up(x: int) -> int:
    return x + 1


def down(x: int) -> int:
    return x - 1


def into(x: Any, y: int, out: Any) -> None:
    for place in range(len(x)):
        out[place] = x[place] + y


def test_compiling_and_calling_changes_no_key() -> None:
    compiled = numba.njit(up)
    token = Encoder().token(compiled)
    assert compiled(3) == 4
    assert Encoder().token(compiled) == token
    assert_stable_key(compiled)
    ufunc = numba.vectorize(up)
    token = Encoder().token(ufunc)
    ufunc(np.arange(3))
    assert Encoder().token(ufunc) == token


def test_the_function_and_how_it_is_compiled_count() -> None:
    assert_different_keys(
        *(up, numba.njit(up), numba.njit(down), numba.njit(fastmath=True)(up)),
        *(numba.vectorize(up), numba.vectorize(down)),
        *(numba.cfunc("int64(int64)")(up), numba.cfunc("int32(int32)")(up)),
    )
    assert_same_key(numba.njit(up), numba.njit(up))


def test_generalised_functions_count_by_their_signature() -> None:
    types = ["(int64[:], int64, int64[:])"]
    first, second = (
        numba.guvectorize(types, layout)(into) for layout in ("(n),()->(n)", "(m),()->(m)")
    )
    assert_same_key(first, numba.guvectorize(types, "(n),()->(n)")(into))
    assert_different_keys(first, second)
