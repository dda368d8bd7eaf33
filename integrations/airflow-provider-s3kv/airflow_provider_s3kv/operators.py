"""Operators: any operator cached by its rendered fields, cleaning, and invalidation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

import s3kv_flow as s3kv
from airflow_provider_s3kv.caching import (
    XCOM_KEY,
    Caching,
    OnHit,
    S3KVEntryLink,
    check_for_xcom,
)
from airflow_provider_s3kv.decorators import _policy
from airflow_provider_s3kv.hooks import store_for_task
from s3kv_flow.adapters import CachedCall, CachedCalls, Ran, results_of, sweep, sweep_local


def operator_result(operator: Any, fields: dict[str, Any]) -> None:
    """Stand for what an operator does: its class, and its rendered fields."""


class S3KVCachingMixin(BaseOperator):  # type: ignore[misc]
    """Caches what any operator returns, by its class and its rendered template fields.

    ``class CachedBash(S3KVCachingMixin, BashOperator): ...``. What an operator does is beyond what a key
    can see: cache those whose result follows from their fields, and name other causes in ``version`` or
    ``depends_on``. A deferred operator's result is stored when it resumes.

    Parameters
    ----------
    policy : s3kv_flow.Policy, optional
        The options of the caching. They are no arguments of their own here, for operators have some of
        these names.
    cache_options : dict, optional
        Options that are templates, or override the policy's: ``tags``, ``max_age_days``, ``version``.
    s3kv_conn_id : str, optional
        A connection of type ``s3kv``; see `S3KVCachedOperator`.
    on_hit : {"success", "skip"}
        ``"skip"`` ends the task as skipped where its result is cached already.
    **kwargs
        The operator's own.
    """

    template_fields: Sequence[str] = ("cache_options", "s3kv")
    operator_extra_links = (S3KVEntryLink(),)
    overwrite_rtif_after_execution = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields = dict.fromkeys(
            name for base in cls.__mro__ for name in vars(base).get("template_fields", ())
        )
        cls.template_fields = (
            *(name for name in fields if name not in ("cache_options", "s3kv")),
            "cache_options",
            "s3kv",
        )

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
        super().__init__(**kwargs)  # an operator has no attributes before
        self.cache_options = dict(cache_options or {})
        self.s3kv = s3kv or {}
        self.policy = _policy(policy, {})
        self.s3kv_conn_id = s3kv_conn_id
        self.on_hit = on_hit

    def execute(self, context: Any) -> Any:
        """Give the stored result, or execute and store what is returned."""
        compute = super().execute  # type: ignore[misc]
        found = self._cached_call(context)
        if found is None:
            return compute(context)
        caching, calls, call = found
        with caching.mode():
            # TaskDeferred passes through, and nothing is stored until the task resumes.
            ran = calls.run(call, lambda: check_for_xcom(self, compute(context)))
        return self._told(context, caching, calls, call, ran)

    def resume_execution(self, next_method: str, next_kwargs: Any, context: Any) -> Any:
        """Resume a deferred operator, and store what it returns."""
        value = super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]
        found = self._cached_call(context)
        if found is not None:
            caching, calls, call = found
            try:
                calls.store(call, check_for_xcom(self, value))
            except s3kv.S3KVError as error:
                self.log.warning("the result is not stored: %s", error)  # type: ignore[attr-defined]
            else:
                self._told(context, caching, calls, call, Ran(value, hit=False))
        return value

    def _cached_call(self, context: Any) -> tuple[Caching, CachedCalls, CachedCall] | None:
        opened = Caching(self.cache_options, self.policy, self.s3kv_conn_id, self.on_hit).opened(
            self, context
        )
        if opened is None:
            return None
        kind = next(one for one in type(self).__mro__ if S3KVCachingMixin not in one.__mro__)
        if opened.policy.name is None:
            opened.policy = opened.policy.replace(name=f"{kind.__module__}.{kind.__qualname__}")
        fields: tuple[str, ...] = tuple(type(self).template_fields)
        shown = {
            name: getattr(self, name) for name in fields if name not in ("cache_options", "s3kv")
        }
        calls = opened.calls(operator_result)
        call = opened.call(calls, kind, shown)
        return None if call is None else (opened, calls, call)

    def _told(
        self, context: Any, caching: Caching, calls: CachedCalls, call: CachedCall, ran: Ran
    ) -> Any:
        caching.tell(calls, call, ran)
        self.s3kv = caching.told
        if ran.hit:
            self.outlets: list[Any] = []
        context["ti"].xcom_push(XCOM_KEY, self.s3kv)
        caching.say(self)
        caching.skipped()
        return ran.value


class S3KVClearOldCacheOperator(BaseOperator):  # type: ignore[misc]
    """Clears results and XComs that were stored longer ago than ``max_days``.

    Its summary is its XCom: ``entries``, ``size_bytes``, ``locked`` (the keys that are kept because
    retention or a legal hold protects them), ``by_function``, ``xcoms``, ``local_entries``.

    Parameters
    ----------
    max_days : float or template
        The least age.
    function : str, optional
        Only results of this function, by its cache's name.
    tag, tag_value : str, optional
        Only results with this tag.
    xcoms : bool
        Clear what `S3KVXComBackend` keeps for XComs, too.
    dry_run : bool or template
        Delete nothing, and tell what would go.
    s3kv_conn_id : str, optional
        The connection.
    """

    template_fields: Sequence[str] = ("max_days", "function", "tag", "tag_value", "dry_run")

    def __init__(
        self,
        *,
        max_days: float | str = 30,
        function: str | None = None,
        tag: str | None = None,
        tag_value: str | None = None,
        xcoms: bool = True,
        dry_run: bool | str = False,
        s3kv_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_days = max_days
        self.function = function
        self.tag = tag
        self.tag_value = tag_value
        self.xcoms = xcoms
        # It hides a method of BaseOperator's, which nothing in Airflow calls.
        self.dry_run = dry_run
        self.s3kv_conn_id = s3kv_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        """Clear, and give the summary."""
        store = store_for_task(self.s3kv_conn_id)
        max_days = float(self.max_days)
        dry = str(self.dry_run).strip().lower() in ("true", "1", "yes", "on")
        tag = (self.tag, self.tag_value or "") if self.tag else None
        prefix = results_of(self.function)
        # First, for what goes in S3 goes here, too.
        local = None if dry or tag else sweep_local(max_days, store, function=self.function)
        swept = sweep(max_days, store, prefix=prefix, tag=tag, dry_run=dry)
        summary: dict[str, Any] = {
            "dry_run": dry,
            "max_days": max_days,
            "entries": swept.count,
            "size_bytes": swept.size_bytes,
            "locked": list(swept.locked),
            "by_function": dict(swept.names),
        }
        if self.xcoms and not self.function and not self.tag:
            summary["xcoms"] = sweep(max_days, store, prefix="xcom/", dry_run=dry).count
        if local is not None:
            summary["local_entries"] = local.entries
        self.log.info(
            "%s %d results of %.1f MB; %d locked ones %s kept",
            "would clear" if dry else "cleared",
            swept.count,
            swept.size_bytes / 1e6,
            len(swept.locked),
            "would be" if dry else "were",
        )
        for key in swept.locked:
            self.log.info("locked, kept: %s", key)
        return summary


class S3KVInvalidateOperator(BaseOperator):  # type: ignore[misc]
    """Forgets results, here and in the bucket: of a function, with a tag, or of one key.

    Parameters
    ----------
    function : str, optional
        The name of a function's cache: all of its results.
    tag, tag_value : str, optional
        All results (and keys) with this tag.
    key : str, optional
        One result, by its key, as the XCom ``s3kv`` of its task tells it.
    s3kv_conn_id : str, optional
        The connection.

    Raises
    ------
    ValueError
        Not exactly one of the three is given.
    """

    template_fields: Sequence[str] = ("function", "tag", "tag_value", "key")

    def __init__(
        self,
        *,
        function: str | None = None,
        tag: str | None = None,
        tag_value: str | None = None,
        key: str | None = None,
        s3kv_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.tag = tag
        self.tag_value = tag_value
        self.key = key
        self.s3kv_conn_id = s3kv_conn_id
        if sum(one is not None for one in (function, tag, key)) != 1:
            raise ValueError("give exactly one of function=, tag= (with tag_value=) and key=")

    def execute(self, context: Any) -> dict[str, Any]:
        """Forget them, and give how many there were, and which are locked."""
        store = store_for_task(self.s3kv_conn_id)
        if self.tag is not None:
            deleted = store.delete_by_tag(self.tag, self.tag_value or "")
            return {"entries": deleted.count, "locked": list(deleted.locked)}
        if self.function is not None:
            swept = sweep(0, store, prefix=results_of(self.function))
            if not swept.count and not swept.locked:
                self.log.warning("there are no results of a function %s", self.function)
            return {"entries": swept.count, "locked": list(swept.locked)}
        from s3kv_flow.adapters import calls_at

        try:
            calls, call = calls_at(str(self.key), store=store)
        except s3kv.InvalidKeyError as error:
            raise AirflowException(str(error)) from error
        there = calls.peek(call) is not None
        calls.invalidate(call)
        return {"entries": int(there), "locked": []}
