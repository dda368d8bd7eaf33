"""`S3KVPolicy`: keys that are the same in every run, on every machine, and in every front end."""

from __future__ import annotations

import copy
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, Final

from prefect.cache_policies import CachePolicy, CompoundCachePolicy

import s3kv_flow as s3kv
from prefect_s3kv.calls import Known, remember
from prefect_s3kv.tags import made_valid
from s3kv_flow.adapters import CachedCall, CachedCalls

# A task or flow that a task's code names counts by its function, and not by all that Prefect keeps.
for _kind in ("prefect.tasks.Task", "prefect_s3kv.tasks.CachedTask", "prefect.flows.Flow"):
    s3kv.register_key(_kind, lambda task: task.fn)

#: The caching of functions by their options; those used last, for tasks may be made without end.
LIMIT: Final = 1024
_calls: OrderedDict[Any, tuple[Any, CachedCalls]] = OrderedDict()
_lock = threading.Lock()


def inputs_of_a_task(**inputs: Any) -> None:
    """Stand for the function where a policy is asked without a task."""


@dataclass
class S3KVPolicy(CachePolicy):
    """One policy for all of it: the task's function with all the code it reaches, and its inputs.

    The run is not in it, so results are reused across runs. A key that cannot be made is never
    made up from a part of itself: the task then runs, and its result is not stored.

    Parameters
    ----------
    policy : s3kv_flow.Policy, optional
        Options of the caching, such as ``max_age_days``, ``version``, ``name``, ``code``,
        ``depends_on`` and ``tags``; the same object can serve ``@s3kv.cached``.
    exclude, ignore : str or iterable of str
        Names of inputs that do not count; ``policy - "session"`` adds one.

    Examples
    --------
    >>> policy = S3KVPolicy(ignore=("session",)) - "verbose"
    >>> policy.exclude
    ['session', 'verbose']
    """

    policy: s3kv.Policy = field(default_factory=s3kv.Policy)
    exclude: list[str] = field(default_factory=list)
    ignore: InitVar[str | Iterable[str]] = ()

    def __post_init__(self, ignore: str | Iterable[str]) -> None:
        given = (self.policy.ignore, self.exclude, ignore)
        names = [name for one in given for name in ([one] if isinstance(one, str) else one)]
        self.exclude = sorted(set(names))

    def __sub__(self, other: str) -> S3KVPolicy:
        """Give a policy in which one input more does not count."""
        if not isinstance(other, str):
            raise TypeError("Can only subtract strings from key policies.")
        new = copy.copy(self)
        new.exclude = sorted({*self.exclude, other})
        return new

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Give a policy whose keys also have what another policy's have.

        Its entries are its own: no other front end has such keys.
        """
        if type(other).__name__ == "_None":
            return self
        merged = super().__add__(other)  # checks that storages, locks and isolation agree
        return S3KVCompound(
            policies=[self, other],
            key_storage=merged.key_storage,
            lock_manager=merged.lock_manager,
            isolation_level=merged.isolation_level,
        )

    def compute_key(
        self,
        task_ctx: Any,
        inputs: dict[str, Any] | None,
        flow_parameters: dict[str, Any] | None,
        **kwargs: Any,
    ) -> str | None:
        """Give the key of the entry, ``cache/<name>/<h2>/<digest>``.

        Raises
        ------
        UnhashableArgumentError
            An input has no stable key. Prefect logs it, and runs the task without the cache.
        """
        return self.key(task_ctx, inputs, [])

    def key(self, task_ctx: Any, inputs: dict[str, Any] | None, more: list[str]) -> str:
        """Give the key of the entry; ``more`` are what other policies would have it depend on."""
        task = getattr(task_ctx, "task", None)
        function = getattr(task, "fn", None)
        if function is None:
            counted = {k: v for k, v in (inputs or {}).items() if k not in self.exclude}
            calls = self._calls_of(inputs_of_a_task, ["inputs"])
            key_of = {"nothing": inputs is None, "more": more, "inputs": counted}
            return calls.call(**key_of).key
        calls = self._calls_of(function, more)
        call = _call(calls, function, inputs or {})
        remember(Known(calls, call, getattr(task, "name", "")), task_ctx)
        return call.key

    def _calls_of(self, function: Callable[..., Any], more: list[str]) -> CachedCalls:
        which = (id(function), id(self.policy), tuple(self.exclude), tuple(more))
        with _lock:
            if which not in _calls:
                # Ids are of one object only as long as that lives.
                kept = (function, self.policy)
                _calls[which] = kept, CachedCalls(function, self._options(function, more))
                if len(_calls) > LIMIT:
                    _calls.popitem(last=False)
            return _calls[which][1]

    def _options(self, function: Callable[..., Any], more: list[str]) -> s3kv.Policy:
        if function is inputs_of_a_task:
            return self.policy.replace(name="prefect.inputs", version=0, ignore=(), tags=None)
        policy = self.policy.replace(ignore=tuple(self.exclude), tags=made_valid(self.policy.tags))
        if not more:
            return policy
        depends_on = policy.depends_on
        several = depends_on if isinstance(depends_on, (list, tuple)) else (depends_on,)
        return policy.replace(depends_on=(*several, *more))


@dataclass
class S3KVCompound(CompoundCachePolicy):
    """An `S3KVPolicy` and others: its key is ours, and depends on theirs, too."""

    def compute_key(
        self,
        task_ctx: Any,
        inputs: dict[str, Any] | None,
        flow_parameters: dict[str, Any] | None,
        **kwargs: Any,
    ) -> str | None:
        """Give the key of the entry; where another policy has none, it does without.

        Raises
        ------
        UnhashableArgumentError
            An input has no stable key.
        """
        ours = next(one for one in self.policies if isinstance(one, S3KVPolicy))
        keys = [
            one.compute_key(task_ctx, inputs or {}, flow_parameters or {}, **kwargs)
            for one in self.policies
            if one is not ours
        ]
        return ours.key(task_ctx, inputs, [key for key in keys if key is not None])

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Give a policy whose keys have this one's, too."""
        plain = super().__add__(other)
        return self if plain is self else self._with([*self.policies, other])

    def __sub__(self, other: str) -> S3KVCompound:
        """Give a policy in which one input more does not count."""
        return self._with([one - other for one in self.policies])

    def _with(self, policies: list[CachePolicy]) -> S3KVCompound:
        return S3KVCompound(
            policies=policies,
            key_storage=self.key_storage,
            lock_manager=self.lock_manager,
            isolation_level=self.isolation_level,
        )


def _call(
    calls: CachedCalls, function: Callable[..., Any], inputs: Mapping[str, Any]
) -> CachedCall:
    """Give the call that Prefect makes with these inputs, by the names of parameters."""
    signature = inspect.signature(function)
    bound = inspect.BoundArguments(signature, dict(inputs))
    return calls.call(*bound.args, **bound.kwargs)
