"""The plugin that brings the listener along."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_s3kv import listener


class S3KVPlugin(AirflowPlugin):  # type: ignore[misc]
    """Counts hits and misses."""

    name = "s3kv"
    listeners: ClassVar[list[Any]] = [listener]
