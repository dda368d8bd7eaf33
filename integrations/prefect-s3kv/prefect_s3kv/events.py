"""Prefect's events of what the cache does: ``s3kv.cache.hit|miss|error|cleared``."""

from __future__ import annotations

import logging
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event
from prefect.settings import get_current_settings

logger = logging.getLogger("prefect_s3kv")


def emit(what: str, name: str, **payload: Any) -> None:
    """Emit an event about a cache, where there is a Prefect server to take it.

    Elsewhere Prefect would start a server for it, and the caller would wait for that.
    """
    flow = FlowRunContext.get()
    if flow is None and get_current_settings().api.url is None:
        return
    related = []
    if flow is not None and flow.flow_run is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.flow-run.{flow.flow_run.id}",
                "prefect.resource.role": "flow-run",
            }
        )
    task = TaskRunContext.get()
    if task is not None:
        related.append(
            {
                "prefect.resource.id": f"prefect.task-run.{task.task_run.id}",
                "prefect.resource.role": "task-run",
            }
        )
    try:
        emit_event(
            event=f"s3kv.cache.{what}",
            resource={"prefect.resource.id": f"s3kv.cache.{name}", "prefect.resource.name": name},
            related=related,
            payload=payload,
        )
    except Exception:  # whoever watches must not break whoever works
        logger.debug("the event %s of %s was not emitted", what, name, exc_info=True)
