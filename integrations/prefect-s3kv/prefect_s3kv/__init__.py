"""Prefect task results that are reused across runs, machines and front ends.

>>> from prefect_s3kv import cached_task, S3KVPolicy, S3KVStorage, S3KVLockManager
"""

from prefect_s3kv.cleaning import clear_old_cache, clear_old_cache_flow
from prefect_s3kv.locking import LockTimeoutError, S3KVLockManager
from prefect_s3kv.policy import S3KVPolicy
from prefect_s3kv.serializer import S3KVSerializer
from prefect_s3kv.storage import S3KVStorage
from prefect_s3kv.tasks import cached_task

__version__ = "0.1.0"

__all__ = [
    "LockTimeoutError",
    "S3KVLockManager",
    "S3KVPolicy",
    "S3KVSerializer",
    "S3KVStorage",
    "cached_task",
    "clear_old_cache",
    "clear_old_cache_flow",
]
