"""``@task.s3kv_cached``: a task whose result is computed once, by anybody, anywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

import s3kv_flow as s3kv
from airflow_provider_s3kv.caching import (
    XCOM_KEY,
    Caching,
    OnHit,
    S3KVEntryLink,
    check_for_xcom,
    split,
)
from s3kv_flow.adapters import CachedCall, CachedCalls

#: Values of the context that say what is computed: they count for functions that ask for them.
VALUES: Final = {
    *(
        "ds",
        "ds_nodash",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "logical_date",
        "run_id",
        "params",
    ),
    *("data_interval_start", "data_interval_end", "partition_key", "partition_date"),
}

s3kv.register_key("airflow.sdk.execution_time.lazy_sequence.LazyXComSequence", list)


class S3KVCachedOperator(_PythonDecoratedOperator):  # type: ignore[misc]
    """The operator behind ``@task.s3kv_cached``.

    A hit is a success with the same XCom as a run; assets that the task would have updated are not
    said to be. A task whose arguments have no key, or whose store does not answer, runs.

    Parameters
    ----------
    policy : s3kv_flow.Policy, optional
        Options of the caching to begin with, such as a `CachePolicy`.
    s3kv_conn_id : str, optional
        A connection of type ``s3kv``. By default ``s3kv_default`` if it exists, else what the
        environment names.
    on_hit : {"success", "skip"}
        ``"skip"`` ends the task as skipped where its result is cached already.
    **kwargs
        The fields of `s3kv_flow.Policy` (``tags``, ``max_age_days``, ``name`` and ``version`` may be
        templates), and the arguments of ``@task``.
    """

    template_fields: Sequence[str] = (
        *_PythonDecoratedOperator.template_fields,
        "cache_options",
        "s3kv",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **_PythonDecoratedOperator.template_fields_renderers,
        "cache_options": "json",
        "s3kv": "json",
    }
    custom_operator_name = "@task.s3kv_cached"
    operator_extra_links = (S3KVEntryLink(),)
    #: What the cache has done is shown among the rendered fields.
    overwrite_rtif_after_execution = True

    def __init__(
        self,
        *,
        policy: s3kv.Policy | None = None,
        s3kv_conn_id: str | None = None,
        on_hit: OnHit = "success",
        cache_options: dict[str, Any] | None = None,
        s3kv: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        templates, others = split(kwargs)
        self.cache_options = {**(cache_options or {}), **templates}
        self.s3kv = s3kv or {}
        self.policy = _policy(policy, others)
        self.s3kv_conn_id = s3kv_conn_id
        if on_hit not in ("success", "skip"):
            raise ValueError(f"on_hit={on_hit!r}: known are success, skip")
        self.on_hit = on_hit
        self._caching: Caching | None = None
        kwargs.setdefault("show_return_value_in_logs", False)
        super().__init__(**kwargs)
        function = inspect.unwrap(self.python_callable)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function, and what it yields is gone once "
                "read; cache a task that returns a list of it"
            )

    def execute(self, context: Any) -> Any:
        """Give the stored result, or run the function and store what it returns."""
        # PythonOperator puts what the function asks of the context into `op_kwargs`; what is shown
        # and hashed is what the author wrote.
        self._given: dict[str, Any] = dict(self.op_kwargs)  # type: ignore[has-type]
        caching = Caching(self.cache_options, self.policy, self.s3kv_conn_id, self.on_hit)
        self._caching = caching.opened(self, context)
        try:
            value = super().execute(context)
        finally:
            self.op_kwargs = self._given
        if self._caching is not None and self._caching.told:
            context["ti"].xcom_push(XCOM_KEY, self.s3kv)
            self._caching.say(self)
            self._caching.skipped()
        return value

    def execute_callable(self) -> Any:
        """Run the function, unless its result is stored."""
        compute = super().execute_callable
        found = self._call()
        if found is None:
            return compute()
        caching, calls, call = found
        with caching.mode():
            ran = calls.run(call, lambda: check_for_xcom(self, compute()))
        return self._told(caching, calls, call, ran)

    async def aexecute_callable(self) -> Any:
        """Run the coroutine function, unless its result is stored."""
        compute = super().aexecute_callable
        found = self._call()
        if found is None:
            return await compute()
        caching, calls, call = found

        async def checked() -> Any:
            return check_for_xcom(self, await compute())

        with caching.mode():
            ran = await calls.run_async(call, checked)
        return self._told(caching, calls, call, ran)

    def _call(self) -> tuple[Caching, CachedCalls, CachedCall] | None:
        if self._caching is None:
            return None
        parameters = _parameters(self.python_callable)
        handles = KNOWN_CONTEXT_KEYS - VALUES - self._given.keys()
        ignored = [name for name in parameters if name in handles]
        caching = self._caching
        if ignored:
            was = caching.policy.ignore
            more = [was] if isinstance(was, str) else list(was)
            caching.policy = caching.policy.replace(ignore=[*more, *ignored])
        # A function of ``**kwargs`` is given the whole context, of which it named nothing.
        counted = {
            name: value
            for name, value in self.op_kwargs.items()
            if name not in KNOWN_CONTEXT_KEYS or name in self._given or name in parameters
        }
        if "params" in counted and "params" not in self._given:
            counted["params"] = dict(counted["params"])
        calls = caching.calls(self.python_callable)
        call = caching.call(calls, *self.op_args, **counted)
        return None if call is None else (caching, calls, call)

    def _told(self, caching: Caching, calls: CachedCalls, call: CachedCall, ran: Any) -> Any:
        caching.tell(calls, call, ran)
        self.s3kv = caching.told
        if ran.hit:
            # Bound anew, for the DAG's own task has the same list: nothing was updated.
            self.outlets: list[Any] = []
        return ran.value

    def _handle_output(self, return_value: Any) -> Any:
        # Else an asset that is returned counts as updated.
        return return_value if self.s3kv.get("hit") else super()._handle_output(return_value)


def _policy(policy: s3kv.Policy | None, options: dict[str, Any]) -> s3kv.Policy:
    from airflow_provider_s3kv.policy import CachePolicy

    if policy is None:
        return CachePolicy(**options)
    aliases = {name: options.pop(name) for name in ("ttl", "exclude_inputs") if name in options}
    made = CachePolicy(**aliases)
    if "ttl" in aliases:
        options["max_age"] = made.max_age
    if "exclude_inputs" in aliases:
        options["ignore"] = made.ignore
    return policy.replace(**options)


def _parameters(function: Callable[..., Any]) -> set[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind not in kinds}


def s3kv_cached_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Make a cached task of a function; see `S3KVCachedOperator` for the arguments."""
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=S3KVCachedOperator,
        **kwargs,
    )
