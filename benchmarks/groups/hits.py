"""Hits from memory and from this machine's disk."""

from __future__ import annotations

from pathlib import Path

import diskcache
import joblib
import numpy as np
from cachier import cachier
from measure import FOLDER, Row, compare

import s3kv_flow as s3kv
from groups.values import numbers


def add(a: int, b: int) -> int:
    return a + b


def same(value: dict[str, int]) -> dict[str, int]:
    return {f"x{n}": n for n in range(100)}


def rows() -> list[Row]:
    memory, disk = s3kv.default_store()._backend.chain.local
    chain = s3kv.default_store()._backend.chain
    raw = diskcache.Cache(f"{FOLDER}/raw", eviction_policy="least-recently-stored")
    argument = {f"key{n}": "abc" for n in range(80)}
    raw["int"], raw["dict"] = 7, same(argument)
    store = joblib.Memory(f"{FOLDER}/joblib", verbose=0)
    rows = []
    for name, function, args in (("int", add, (3, 4)), ("dict", same, (argument,))):
        ours, theirs = s3kv.cached(function), store.cache(function)
        ours(*args), theirs(*args)
        what = "f(3, 4) -> int" if name == "int" else "1 KB dict -> 1 KB dict"
        chain.local = (memory, disk)
        rows.append(
            compare(
                f"hit from memory, {what}",
                "raw diskcache.get",
                lambda name=name: raw.get(name),
                lambda ours=ours, args=args: ours(*args),
                0.5 if name == "int" else 0.6,
                times=2000,
            )
        )
        for peer, call, mark, times in (
            ("raw diskcache.get", lambda name=name: raw.get(name), 2.0, 1000),
            ("joblib", lambda theirs=theirs, args=args: theirs(*args), 0.17, 200),
        ):
            chain.local = (disk,)
            mark = 0.07 if peer == "joblib" and name == "dict" else mark
            call_ours = lambda ours=ours, args=args: ours(*args)
            rows.append(compare(f"hit from disk, {what}", peer, call, call_ours, mark, times=times))
    chain.local = (memory, disk)
    cachier_add = cachier(cache_dir=f"{FOLDER}/cachier")(add)
    cachier_add(3, 4)
    ours = s3kv.cached(add)
    ours(3, 4)
    rows.append(
        compare(
            "hit, f(3, 4)",
            "cachier",
            lambda: cachier_add(3, 4),
            lambda: ours(3, 4),
            0.05,
            times=200,
        )
    )
    ours, theirs = s3kv.cached(numbers), store.cache(numbers)
    ours(12_500_000), theirs(12_500_000)
    plain = Path(FOLDER, "plain")
    numbers(12_500_000).tofile(plain)
    for peer, call, mark in (
        ("joblib", lambda: theirs(12_500_000), 0.01),
        ("a copy-on-write map", lambda: np.memmap(plain, "f8", "c"), 3.4),
    ):
        call_ours = lambda: ours(12_500_000)
        rows.append(compare("hit from disk, 100 MB array", peer, call, call_ours, mark, times=20))
    return rows
