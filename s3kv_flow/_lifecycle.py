"""Lifecycle rules: the bucket itself ends results that would not be served, and versions of ours.

One rule a function with a ``max_age``, and on a bucket that keeps versions one for each kind of
object that the library writes over again. A rule only saves storage: readers judge the exact age.

Rules are described at
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html. A bucket has one
list of them, which is written whole, so that all others are kept as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import xxhash

from s3kv_flow._backend import Backend
from s3kv_flow._cache import FunctionCache
from s3kv_flow._policy import Policy
from s3kv_flow.errors import ConfigurationError
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.stores.s3 import S3Store

#: As many rules as a bucket takes, and as long as the name of one may be.
MOST_RULES: Final = 1000
LONGEST_ID: Final = 255

#: What is written over again and again, or made anew at each change.
_PARTS: Final = ("cache", "index", "lease")

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bucket's rules are to be.

    Attributes
    ----------
    configuration : dict
        All of them, as S3 takes them; those of others as they are.
    ours : list of dict
        The ones that the library wants.
    left_out : tuple of str
        Functions without a rule although their results have a limit, and why.
    changed : bool
        Whether the bucket has other ones now.
    """

    configuration: dict[str, Any]
    ours: list[Rule]
    left_out: tuple[str, ...]
    changed: bool


def plan(backend: Backend, functions: Iterable[FunctionCache]) -> Plan:
    """Give the rules for some functions, merged with those that the bucket has.

    Parameters
    ----------
    backend : Backend
        The store.
    functions : iterable of FunctionCache
        The rule of one that has no limit any more is dropped; those of functions that are not
        among them stay.

    Raises
    ------
    ConfigurationError
        The bucket would have more rules than S3 takes.
    StoreUnavailableError, AccessDeniedError
        The bucket could not be asked.
    """
    control = _control(backend)
    known = {cache.name: cache for cache in functions}
    ours, left_out = _results(backend, known)
    versioning = (control.bucket_property("get_bucket_versioning") or {}).get("Status")
    if versioning in ("Enabled", "Suspended"):  # suspended, it keeps those it has
        ours += [_versions(f"{backend.layout.root}/{part}/") for part in _PARTS]
    found = control.bucket_property("get_bucket_lifecycle_configuration") or {}
    before = list(found.get("Rules", []))
    replaced = {rule["ID"] for rule in ours} | {_id(backend.layout.entries(name)) for name in known}
    others = [rule for rule in before if rule.get("ID") not in replaced]
    rules = others + ours
    if len(rules) > MOST_RULES:
        raise ConfigurationError(
            f"the bucket would have {len(rules)} lifecycle rules, and S3 takes {MOST_RULES}",
            way_out="Name fewer modules, or clear old results with `s3kv clear --older-than DAYS`.",
        )
    configuration: dict[str, Any] = {"Rules": rules}
    # It would fall back to S3's default if it were not said again.
    if "TransitionDefaultMinimumObjectSize" in found:
        size = found["TransitionDefaultMinimumObjectSize"]
        configuration["TransitionDefaultMinimumObjectSize"] = size
    changed = sorted(map(_comparable, before)) != sorted(map(_comparable, rules))
    return Plan(configuration, ours, tuple(left_out), changed)


def apply(backend: Backend, wanted: Plan) -> None:
    """Write the rules of a plan.

    Raises
    ------
    StoreUnavailableError, AccessDeniedError
        The server did not take them.
    """
    if wanted.changed:
        _control(backend).put_lifecycle(wanted.configuration)


def _control(backend: Backend) -> Boto3Objects:
    store = backend.objects
    if not isinstance(store, S3Store):
        raise ConfigurationError("lifecycle rules are of buckets on S3, and this store is none")
    return store.control


def _results(backend: Backend, functions: dict[str, FunctionCache]) -> tuple[list[Rule], list[str]]:
    rules, left_out = [], []
    days = {name: _days(cache.policy) for name, cache in functions.items()}
    for name, limit in sorted(days.items()):
        if limit is None:
            continue
        longer = [
            other
            for other, its in days.items()
            if other.startswith(f"{name}/") and (its is None or its > limit)
        ]
        if longer:
            left_out.append(f"{name}: its rule would end results of {', '.join(longer)} too early")
            continue
        prefix = backend.layout.entries(name)
        rules.append({**_rule(prefix, _id(prefix)), "Expiration": {"Days": limit}})
    return rules, left_out


def _days(policy: Policy) -> int | None:
    """Give after how many days nobody would be served a result; None where that is never."""
    limit = policy.age_limit
    if limit is None or policy.legal_hold:
        return None
    stale = max(
        policy.stale_while_revalidate or timedelta(0), policy.stale_if_error or timedelta(0)
    )
    days = (limit + stale) / timedelta(days=1)
    # A locked version outlives its rule, but behind a delete marker nobody finds it.
    return max(1, math.ceil(max(days, policy.retention_days or 0)))


def _versions(prefix: str) -> Rule:
    """Give the rule that ends versions of ours that were written over, or deleted."""
    rule = _rule(prefix, _id(f"{prefix} versions"))
    return {**rule, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}


def _rule(prefix: str, name: str) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}}


def _id(what: str) -> str:
    """Give a rule's name, by which it is known when it comes to be replaced."""
    name = f"s3kv {what}"
    return name if len(name) <= LONGEST_ID else f"s3kv {xxhash.xxh3_128_hexdigest(name.encode())}"


def _comparable(rule: Rule) -> str:
    return repr(sorted((name, repr(value)) for name, value in rule.items()))
