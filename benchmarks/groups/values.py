"""What is stored and hashed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def numbers(size: int) -> np.ndarray[Any, Any]:
    return np.arange(size, dtype="f8")


def mixed(rows: int) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "price": chance.random(rows),
            "count": chance.integers(0, 100, rows).astype("i2"),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="s"),
            "city": pd.Series([f"city {n % 500}" for n in range(rows)], dtype=object),
            "kind": pd.Categorical.from_codes(chance.integers(0, 3, rows), ["a", "b", "c"]),
            "good": chance.random(rows) < 0.5,
        }
    )
