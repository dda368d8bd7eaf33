"""Keys: of the task's code and its inputs, the same everywhere, and never a part of themselves."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import pytest
from prefect.cache_policies import NO_CACHE, RUN_ID, TASK_SOURCE, CompoundCachePolicy

import s3kv_flow as s3kv
from prefect_s3kv import S3KVLockManager, S3KVPolicy

pytestmark = pytest.mark.usefixtures("kv")


def step(x: object, y: object = 2, *rest: object, **more: object) -> object:
    return x


CONTEXT = SimpleNamespace(task=SimpleNamespace(fn=step, name="step"))


def key(policy: S3KVPolicy | None = None, **inputs: object) -> str | None:
    inputs = {"x": 1, "y": 2, "rest": (), "more": {}, **inputs}
    return (policy or S3KVPolicy()).compute_key(CONTEXT, inputs, {})  # type: ignore[arg-type]


def test_it_is_the_key_of_the_cached_function(kv: s3kv.S3KV) -> None:
    cached = kv.cached(step)
    assert key() == cached.key(1)
    assert key(x=(1, {"a"}), rest=(3,), more={"z": 1}) == cached.key((1, {"a"}), 2, 3, z=1)


@pytest.mark.parametrize(
    ("one", "other"), [({1: 2}, {"1": 2}), ((1, 2), [1, 2]), (True, 1), ("1", b"1"), (1, 1.0)]
)
def test_what_prefect_takes_for_the_same_differs(one: object, other: object) -> None:
    assert key(x=one) != key(x=other)


def test_copies_and_orders_are_the_same() -> None:
    shared = "shared"
    assert key(x=[shared, shared, {1, 2}]) == key(x=[shared, "".join(["sha", "red"]), {2, 1}])
    assert key(x={"a": 1, "b": 2}) == key(x={"b": 2, "a": 1})


def test_excluded_inputs_do_not_count() -> None:
    policy = S3KVPolicy(ignore="y") - "more"
    assert policy.exclude == ["more", "y"]
    assert key(policy, y=3, more={"a": 1}) == key(policy)
    assert key(policy, x=3) != key(policy)
    with pytest.raises(s3kv.ConfigurationError, match="does not take"):
        key(S3KVPolicy() - "misspelt")


def test_with_another_policy_the_key_depends_on_it_and_is_still_ours() -> None:
    both = S3KVPolicy() + TASK_SOURCE
    assert isinstance(both, CompoundCachePolicy)
    context = SimpleNamespace(task=SimpleNamespace(fn=step, name="step", source_code="a"))
    inputs = {"x": 1, "y": 2, "rest": (), "more": {}}
    first = both.compute_key(context, inputs, {})
    context.task.source_code = "b"
    second = both.compute_key(context, inputs, {})
    assert first != second
    assert {first.split("/")[1], second.split("/")[1]} == {key().split("/")[1]}  # type: ignore[union-attr]
    assert (both - "y").compute_key(context, {**inputs, "y": 3}, {}) == (both - "y").compute_key(
        context, inputs, {}
    )
    assert S3KVPolicy() + NO_CACHE == S3KVPolicy()


def test_a_policy_that_fails_fails_all_of_it() -> None:
    class Failing(type(RUN_ID)):  # type: ignore[misc]
        def compute_key(self, *args: object, **kwargs: object) -> str:
            raise ValueError("no key")

    with pytest.raises(ValueError, match="no key"):
        (S3KVPolicy() + Failing()).compute_key(CONTEXT, {"x": 1}, {})


def test_it_travels_and_is_copied_with_its_locks() -> None:
    locks = S3KVLockManager()
    policy = S3KVPolicy(policy=s3kv.Policy(max_age_days=3)).configure(
        isolation_level="SERIALIZABLE", lock_manager=locks
    )
    assert copy.deepcopy(policy).lock_manager is locks
    travelled = pickle.loads(pickle.dumps(policy))
    assert travelled == policy
    assert key(travelled) == key(policy)


def test_the_key_does_not_hold_on_to_arguments() -> None:
    import gc
    import weakref

    class Context:
        task = SimpleNamespace(fn=step, name="step")

    class Large:
        def __s3kv_key__(self) -> int:
            return 1

    context, large = Context(), Large()
    S3KVPolicy().compute_key(context, {"x": large, "y": 2, "rest": (), "more": {}}, {})
    gone = weakref.ref(large)
    del context, large
    gc.collect()
    assert gone() is None
