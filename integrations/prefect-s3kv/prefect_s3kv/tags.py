"""The S3 tags of results: whatever they are called, they never make a write fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext

from s3kv_flow.adapters import fill, valid_tags

TagsOption = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] | None


def made_valid(tags: TagsOption) -> TagsOption:
    """Give a policy's tags as a function whose tags S3 takes."""
    if not tags:
        return None

    def give(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return valid_tags(tags(arguments) if callable(tags) else fill(tags, arguments))

    return give


def run_tags(*given: Mapping[str, Any] | Exception, task: str | None = None) -> dict[str, str]:
    """Give the tags of a result: what was given, then its task, flow and run, as far as ten go."""
    tags: dict[str, Any] = {}
    for one in given:
        if isinstance(one, Mapping):
            tags.update(one)
    context = TaskRunContext.get()
    if task:
        tags.setdefault("prefect-task", task)
    flow = FlowRunContext.get()
    if flow is not None and flow.flow is not None:
        tags.setdefault("prefect-flow", flow.flow.name)
    if flow is not None and flow.flow_run is not None:
        tags.setdefault("prefect-flow-run", str(flow.flow_run.id))
    elif context is not None:
        tags.setdefault("prefect-task-run", str(context.task_run.id))
    return valid_tags(tags)
