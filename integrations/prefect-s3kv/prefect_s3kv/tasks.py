"""`cached_task`: a Prefect task whose results are those of `s3kv_flow.cached`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, TypeVar

from prefect import Task
from prefect.locking.protocol import LockManager

import s3kv_flow as s3kv
from prefect_s3kv.policy import S3KVPolicy
from prefect_s3kv.storage import S3KVStorage

F = TypeVar("F", bound=Callable[..., Any])

_CACHING: Final = {field.name for field in fields(s3kv.Policy)}
#: Options that a task has, too: there they are given as ``task_name`` and so on.
_OF_BOTH: Final = ("name", "tags", "version")


class CachedTask(Task[Any, Any]):
    """A Prefect task that may store its results through a block that no server knows."""

    def __init__(self, *args: Any, result_storage: Any = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if result_storage is not None:
            self.result_storage = result_storage

    def with_options(self, **options: Any) -> CachedTask:
        """Give the task with some options changed."""
        storage = options.pop("result_storage", None) or self.result_storage
        bare = copy.copy(self)
        bare.result_storage = None
        made: Any = Task.with_options(bare, **options)
        made.__class__ = CachedTask
        made.result_storage = storage
        return made  # type: ignore[no-any-return]


def cached_task(
    fn: Callable[..., Any] | None = None,
    *,
    policy: s3kv.Policy | None = None,
    storage: S3KVStorage | str | None = None,
    isolation_level: Any = None,
    lock_manager: LockManager | None = None,
    **options: Any,
) -> Any:
    """Make a task whose result is stored once for all runs, machines and front ends.

    What ``@s3kv_flow.cached`` has stored for the same function and arguments is found, and the
    other way round.

    Parameters
    ----------
    fn : callable
        A function or coroutine function.
    policy : s3kv_flow.Policy, optional
        Options of the caching to begin with.
    storage : S3KVStorage or str, optional
        Where results are stored: a block, saved or not, or the name of one such as
        ``"s3kv-storage/prod"``. By default the default store of the process.
    isolation_level, lock_manager
        As :meth:`CachePolicy.configure` takes them: ``"SERIALIZABLE"`` and an `S3KVLockManager`
        for one computation among all workers.
    **options
        The fields of `s3kv_flow.Policy` (``tags``, ``max_age_days``, ``ignore``, ...), and the
        options of Prefect's ``task``. ``name``, ``tags`` and ``version`` are the caching's; those
        of the task are ``task_name``, ``task_tags`` and ``task_version``.

    Returns
    -------
    prefect.Task
        The task.

    Raises
    ------
    TypeError
        A generator function, or an option that neither knows.

    Examples
    --------
    >>> @cached_task(tags={"team": "ml"}, max_age_days=30, ignore=("session",), retries=2)
    ... def features(day, session=None):
    ...     return day.upper()
    >>> features.name, features.retries
    ('features', 2)
    """
    if fn is None:
        return lambda function: cached_task(
            function,
            policy=policy,
            storage=storage,
            isolation_level=isolation_level,
            lock_manager=lock_manager,
            **options,
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(
            f"{fn.__qualname__} is a generator function, and what it yields is gone once read; "
            "cache a task that returns a list of it"
        )
    caching = {name: options.pop(name) for name in _CACHING & options.keys()}
    for name in _OF_BOTH:
        if f"task_{name}" in options:
            options[name] = options.pop(f"task_{name}")
    chosen = (policy or s3kv.Policy()).replace(**caching)
    cache_policy: Any = S3KVPolicy(policy=chosen)
    if isolation_level is not None or lock_manager is not None:
        cache_policy = cache_policy.configure(
            isolation_level=isolation_level, lock_manager=lock_manager
        )
    return CachedTask(
        fn,
        cache_policy=cache_policy,
        result_storage=storage if storage is not None else S3KVStorage(),
        **options,
    )
