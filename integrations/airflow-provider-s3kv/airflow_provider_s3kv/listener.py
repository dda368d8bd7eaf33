"""Counts hits and misses of cached tasks in Airflow's metrics."""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

logger = logging.getLogger("airflow_provider_s3kv")


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Count what the cache did for a task that has succeeded."""
    _count(task_instance)


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """Count a hit that was asked to be skipped."""
    _count(task_instance)


def _count(task_instance: Any) -> None:
    told = getattr(getattr(task_instance, "task", None), "s3kv", None)
    if not isinstance(told, dict) or "hit" not in told:
        return
    what = "hit" if told["hit"] else "miss"
    try:
        from airflow.sdk.observability import stats

        tags = {"dag_id": task_instance.dag_id, "task_id": task_instance.task_id}
        stats.incr(f"s3kv.{what}", tags=tags)
    except Exception:  # whoever counts must not break whoever works
        logger.debug("not counted", exc_info=True)
