"""The keys of large arguments."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import gc
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np
import pandas as pd
import xxhash
from dask import hashing
from dask.base import tokenize
from measure import Row, compare

from s3kv_flow.keys import handlers  # noqa: F401 - teaches the encoder all types
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.token import Encoder


@dataclasses.dataclass
class Trade:
    number: int
    name: str


def tokenize_with_sha1(value: Any) -> str:
    """Do what dask does where it is installed alone: it takes xxhash, which is ours, where there is one."""
    installed = list(hashing.hashers)
    hashing.hashers[:] = installed[-1:]
    try:
        return str(tokenize(value))
    finally:
        hashing.hashers[:] = installed


def beside_dask(work: str, value: Any, mark: float, times: int = 1) -> list[Row]:
    return [
        compare(work, peer, partial(theirs, value), token(value), mark, times=times)
        for peer, theirs in (("dask", tokenize_with_sha1), ("dask with xxhash", tokenize))
    ]


def token(value: Any) -> Callable[[], bytes]:
    return lambda: Encoder().token(value)


def key_of_each_call(value: Any) -> Callable[[], str]:
    """Give the key of calls of one function with this argument."""

    def function(value: Any) -> None: ...

    keys = CallKey(function, Identity(function))
    return lambda: keys.of((value,), {})


def rows() -> list[Row]:
    array = np.random.default_rng(0).random(32_000_000)
    strided = np.random.default_rng(0).random((512, 512))[::2, ::2]
    frame = pd.DataFrame(np.random.default_rng(0).random((1_000_000, 9)))
    texts = pd.Series([f"text {n % 5000}" for n in range(1_000_000)], dtype=object)
    nested = {
        f"k{n}": {
            "name": f"item {n}",
            "weight": n / 7,
            "tags": ["a", str(n)],
            "place": {"x": n / 3, "y": n / 11, "of": None},
        }
        for n in range(10_000)
    }
    wide = [{f"f{place}": {"a": place, "b": [1, 2, 3]} for place in range(40)} for _ in range(1000)]
    told = [
        {
            "day": datetime.date(2024, 1, 1) + datetime.timedelta(n % 400),
            "price": decimal.Decimal(n) / 8,
            "trade": Trade(n, f"item {n % 50}"),
            "tags": {"a", str(n % 9)},
            "file": pathlib.PurePosixPath(f"in/{n}"),
        }
        for n in range(10_000)
    ]
    from prefect.utilities.hashing import hash_objects  # here: it takes seconds to import

    return [
        compare(
            "key of a 256 MB array",
            "xxh3",
            lambda: xxhash.xxh3_128(array).digest(),
            token(array),
            1.18,
        ),
        *beside_dask("key of a strided array", strided, 0.7, times=20),
        *beside_dask("key of a frame, 1M x 9", frame, 0.6),
        *beside_dask("key of 1M Python strings", texts, 1.0),
        compare(
            "key of a nested dict, 10,000 items",
            "Prefect",
            lambda: hash_objects(nested),
            token(nested),
            0.15,
            before=gc.collect,  # what one leaves behind is not the other's to clear away
        ),
        compare(
            "key of the same in call after call",
            "Prefect",
            lambda: hash_objects(nested),
            key_of_each_call(nested),
            0.15,
            before=gc.collect,
        ),
        compare(
            "key of the same",
            "joblib",
            lambda: joblib.hash(nested),
            token(nested),
            1.0,
            before=gc.collect,
        ),
        compare(
            "key of 1,000 records of 40 dicts",
            "Prefect",
            lambda: hash_objects(wide),
            token(wide),
            0.5,
            before=gc.collect,
        ),
        compare(
            "key of 10,000 records of dates, decimals, objects",
            "Prefect",
            lambda: hash_objects(told),
            token(told),
            0.5,
            before=gc.collect,
        ),
    ]
