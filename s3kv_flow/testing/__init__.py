"""What users and integrations test with."""

from s3kv_flow.testing.clock import ManualClock
from s3kv_flow.testing.stores import CountingStore, FailingStore, memory_store

__all__ = ["CountingStore", "FailingStore", "ManualClock", "memory_store"]
