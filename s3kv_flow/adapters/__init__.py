"""What integrations with orchestrators stand on: memoized calls that somebody else runs.

An orchestrator decides itself when a task runs, and where. `CachedCalls` gives it the keys,
entries and single flight of a function, so that what it stores is what `cached` would have stored;
`WorkLease` is the lease of the cluster, for locks that it keeps itself; `sweep` is what its
maintenance runs.
"""

from s3kv_flow._tags import fill, valid_tags
from s3kv_flow.adapters.calls import CachedCall, CachedCalls, Found, Ran, calls_at
from s3kv_flow.adapters.lease import WorkLease
from s3kv_flow.adapters.sweeping import Swept, results_of, sweep, sweep_local

__all__ = [
    "CachedCall",
    "CachedCalls",
    "Found",
    "Ran",
    "Swept",
    "WorkLease",
    "calls_at",
    "fill",
    "results_of",
    "sweep",
    "sweep_local",
    "valid_tags",
]
