"""What users and integrations test with."""

from s3kv_flow.testing.clock import ManualClock
from s3kv_flow.testing.keys import assert_different_keys, assert_same_key, assert_stable_key
from s3kv_flow.testing.stores import CountingStore, FailingStore, memory_store

__all__ = [
    "CountingStore",
    "FailingStore",
    "ManualClock",
    "assert_different_keys",
    "assert_same_key",
    "assert_stable_key",
    "memory_store",
]
