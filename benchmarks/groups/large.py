"""A gigabyte that is read through, and a frame of a million rows: from this machine's disk."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
from measure import FOLDER, Row, compare

import s3kv_flow as s3kv
from groups.values import mixed, numbers


def rows() -> list[Row]:
    chain = s3kv.default_store()._backend.chain
    tiers, chain.local = chain.local, chain.local[1:]
    store = joblib.Memory(f"{FOLDER}/joblib-large", verbose=0)
    array, plain = s3kv.cached(numbers), Path(FOLDER, "gigabyte")
    array(125_000_000).tofile(plain)
    frame = mixed(1_000_000)
    ours, theirs = s3kv.cached(mixed), store.cache(mixed)
    ours(1_000_000), theirs(1_000_000)
    stored = s3kv.cached(lambda: frame, name="stored", version=1)
    rows = [
        compare(
            "hit from disk, 1 GB array, then summed",
            "a copy-on-write map",
            lambda: np.memmap(plain, "f8", "c").sum(),
            lambda: array(125_000_000).sum(),
            1.11,
        ),
        compare(
            "hit from disk, mixed frame of 1M rows",
            "joblib",
            lambda: theirs(1_000_000),
            lambda: ours(1_000_000),
            0.6,
        ),
        compare(
            "store on disk, mixed frame of 1M rows",
            "its own to_pickle",
            lambda: frame.to_pickle(f"{FOLDER}/frame.pickle"),
            stored.refresh,
            1.15,
        ),
    ]
    chain.local = tiers
    return rows
