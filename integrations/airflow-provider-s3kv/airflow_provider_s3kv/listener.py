"""Counts hits and misses of cached tasks in Airflow's metrics, and says them in the log."""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

logger = logging.getLogger("airflow_provider_s3kv")


@hookimpl  # type: ignore[untyped-decorator]
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Note what the cache did for a task that has succeeded."""
    told = getattr(getattr(task_instance, "task", None), "s3kv", None)
    if not isinstance(told, dict) or "hit" not in told:
        return
    what = "hit" if told["hit"] else "miss"
    logger.info("%s: %s %s", task_instance.task_id, what, told.get("key", ""))
    try:
        from airflow.sdk.observability import stats

        tags = {"dag_id": task_instance.dag_id, "task_id": task_instance.task_id}
        stats.incr(f"s3kv.{what}", tags=tags)
    except Exception:  # whoever counts must not break whoever works
        logger.debug("not counted", exc_info=True)
