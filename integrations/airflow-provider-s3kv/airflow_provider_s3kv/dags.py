"""`clear_old_cache_dag`: the maintenance of the cache as a DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_s3kv.operators import S3KVClearOldCacheOperator


def clear_old_cache_dag(
    *,
    dag_id: str = "s3kv_clear_old_cache",
    schedule: Any = "17 3 * * *",
    max_days: float = 30,
    dry_run: bool = False,
    function: str | None = None,
    tag: str | None = None,
    tag_value: str | None = None,
    s3kv_conn_id: str | None = None,
    **dag_kwargs: Any,
) -> Any:
    """Give a DAG that clears old results and XComs; assign it to a name in a file of the dags folder.

    Parameters
    ----------
    dag_id, schedule
        Of the DAG.
    max_days, dry_run, function, tag, tag_value
        As of `S3KVClearOldCacheOperator`; the form of a manual run may change them.
    s3kv_conn_id : str, optional
        The connection.
    **dag_kwargs
        Further arguments of the DAG.
    """
    params = {
        "max_days": Param(
            max_days, type="number", minimum=0, description="The least age, in days."
        ),
        "dry_run": Param(dry_run, type="boolean", description="Delete nothing, and tell."),
    }
    with DAG(
        dag_id,
        schedule=schedule,
        catchup=False,
        params=params,
        tags=["s3kv", "maintenance"],
        doc_md="Clears results of cached tasks, and XComs, that are old. Locked ones are kept.",
        **dag_kwargs,
    ) as dag:
        S3KVClearOldCacheOperator(
            task_id="clear_old_cache",
            max_days="{{ params.max_days }}",
            dry_run="{{ params.dry_run }}",
            function=function,
            tag=tag,
            tag_value=tag_value,
            s3kv_conn_id=s3kv_conn_id,
        )
    return dag
