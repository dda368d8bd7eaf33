"""The memoized entries of one function: written once, by whoever comes first.

`begin` says what now: a hit, a turn to compute, or a wait for whoever computes. `publish` stores
and gives the *published* value; `abandon` lets the next one compute.
"""

from __future__ import annotations

from typing import Any

from s3kv_flow._cache.calls import Call
from s3kv_flow._cache.publishing import Publishing
from s3kv_flow._cache.turns import Claim, Pending, Step

__all__ = ["Call", "Claim", "FunctionCache", "Pending", "Step"]


class FunctionCache(Publishing):
    """What is cached of one function.

    Parameters
    ----------
    function : callable
        The user's.
    policy : Policy
        Its options.
    backend : callable
        Gives the store's blocks, at each call: which store is the default may change.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process it is made anew: no client, lock or counter travels.
        return FunctionCache, (self.identity.function, self.policy, self._backend)
