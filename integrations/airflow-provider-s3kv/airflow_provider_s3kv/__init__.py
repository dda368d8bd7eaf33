"""The task result cache for Airflow: a hit is a success with the same XCom, computed by anybody.

What it gives is imported when it is asked for: Airflow loads this package in each of its processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from airflow_provider_s3kv.dags import clear_old_cache_dag as clear_old_cache_dag
    from airflow_provider_s3kv.hooks import S3KVHook as S3KVHook
    from airflow_provider_s3kv.operators import S3KVCachingMixin as S3KVCachingMixin
    from airflow_provider_s3kv.operators import (
        S3KVClearOldCacheOperator as S3KVClearOldCacheOperator,
    )
    from airflow_provider_s3kv.operators import S3KVInvalidateOperator as S3KVInvalidateOperator
    from airflow_provider_s3kv.policy import CachePolicy as CachePolicy
    from airflow_provider_s3kv.sensors import S3KVEntrySensor as S3KVEntrySensor
    from airflow_provider_s3kv.xcom import S3KVXComBackend as S3KVXComBackend

_WHERE = {
    "CachePolicy": "policy",
    "S3KVCachingMixin": "operators",
    "S3KVClearOldCacheOperator": "operators",
    "S3KVEntrySensor": "sensors",
    "S3KVHook": "hooks",
    "S3KVInvalidateOperator": "operators",
    "S3KVXComBackend": "xcom",
    "clear_old_cache_dag": "dags",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
