"""What cached tasks and cached operators have in common: options, the store, and what is told of a hit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, Literal
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

import s3kv_flow as s3kv
from airflow_provider_s3kv.hooks import store_for_task
from s3kv_flow.adapters import CachedCall, CachedCalls, Ran

logger = logging.getLogger("airflow_provider_s3kv")

#: The XCom that tells of the cache.
XCOM_KEY: Final = "s3kv"
#: Set in a run's configuration, it has all cached tasks compute again; or those that it lists.
REFRESH: Final = "s3kv_refresh"
OPTIONS: Final = {field.name for field in fields(s3kv.Policy)}
#: Those that are rendered as templates, and shown.
TEMPLATED: Final = ("tags", "max_age_days", "name", "version")

OnHit = Literal["success", "skip"]


class S3KVEntryLink(BaseOperatorLink):
    """Leads to the entry in the bucket."""

    name = "Cache entry"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Give the address; evaluated by the worker, once the task has run."""
        told = getattr(operator, "s3kv", None) or {}
        return str(told.get("url", ""))


class Caching:
    """The options of caching of one task, and what its store is asked.

    Parameters
    ----------
    options : mapping
        The fields of `s3kv_flow.Policy` that the task was given, as far as they are templates.
    policy : s3kv_flow.Policy
        All others.
    conn_id : str or None
        The connection.
    on_hit : {"success", "skip"}
        What a hit is.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        policy: s3kv.Policy,
        conn_id: str | None,
        on_hit: OnHit,
    ) -> None:
        self.policy = policy.replace(**_typed(options))
        self.on_hit = on_hit
        self.conn_id = conn_id
        self.told: dict[str, Any] = {}
        self._store: s3kv.S3KV | None = None

    def opened(self, task: Any, context: Any) -> Caching | None:
        """Find the store, before anything runs; None, said once, where there is none."""
        try:
            self._store = store_for_task(self.conn_id)
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            logger.warning("%s runs without its cache: %s", task.task_id, error)
            return None
        asked = (getattr(context.get("dag_run"), "conf", None) or {}).get(REFRESH)
        listed = [asked] if isinstance(asked, str) else asked
        if isinstance(listed, (list, tuple)):
            unknown = {str(one) for one in listed}.difference(task.dag.task_ids)
            if unknown:
                names = ", ".join(sorted(unknown))
                logger.warning("%s names %s, which are no tasks of this DAG", REFRESH, names)
        self.refreshes = listed is True or (
            isinstance(listed, (list, tuple)) and task.task_id in listed
        )
        return self

    def calls(self, function: Callable[..., Any]) -> CachedCalls:
        """Give the cached calls of a function."""
        return CachedCalls(function, self.policy, self._store)

    def call(self, calls: CachedCalls, *args: Any, **kwargs: Any) -> CachedCall | None:
        """Give a call; None, with the argument that has no key named in the log."""
        try:
            return calls.call(*args, **kwargs)
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            logger.warning("computes without its cache: %s", error)
            return None

    def mode(self) -> Any:
        """Give the mode in which the store is asked."""
        mode = self._store._backend.mode if self._store is not None else "read_write"
        return s3kv.mode("refresh" if self.refreshes and mode == "read_write" else mode)

    def tell(self, calls: CachedCalls, call: CachedCall, ran: Ran) -> None:
        """Note what the UI, the listener and the XCom shall show."""
        assert self._store is not None
        self.told = {"hit": ran.hit, "key": call.key, "cache": calls.name}
        info = calls.cache_info()
        if not ran.hit and info.errors:
            self.told["stored"] = False  # the log says why
        else:
            self.told |= self._where(call)
        if ran.hit:
            self.told |= {
                "tier": next(iter(info.hits), ""),
                "seconds_saved": round(info.seconds_saved, 3),
            }

    def _where(self, call: CachedCall) -> dict[str, str]:
        """Give the address of the entry; the names of objects have percent signs of their own."""
        assert self._store is not None
        backend = self._store._backend
        name, settings = quote(backend.layout.entry(call.key)), backend.settings
        if not settings.bucket:
            return {}
        if settings.endpoint_url:
            return {"url": f"{settings.endpoint_url}/{settings.bucket}/{name}"}
        console = "https://s3.console.aws.amazon.com/s3/object"
        return {"url": f"{console}/{settings.bucket}?prefix={name}"}

    def say(self, task: Any) -> None:
        """Say in the task's own log what the cache has done."""
        told = self.told
        if told.get("hit"):
            saved = told.get("seconds_saved", 0)
            task.log.info("cache hit, %s s saved: %s (%s)", saved, told["key"], told.get("tier"))
        else:
            task.log.info("cache miss, computed: %s", told.get("key"))

    def skipped(self) -> None:
        """End the task as skipped where a hit is to be so.

        Raises
        ------
        AirflowSkipException
            It was a hit.
        """
        if self.on_hit == "skip" and self.told.get("hit"):
            raise AirflowSkipException(f"the result is cached as {self.told['key']}")


def split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the options of caching out of a task's arguments: templates, and others."""
    aliases = {"ttl", "exclude_inputs"} & kwargs.keys()
    given = {name: kwargs.pop(name) for name in (OPTIONS | aliases) & kwargs.keys()}
    templates: dict[str, Any] = {name: given.pop(name) for name in TEMPLATED if name in given}
    if callable(templates.get("tags")):
        given["tags"] = templates.pop("tags")
    return templates, given


def _typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Make numbers of what templates have made texts of."""
    found = dict(options)
    days = found.get("max_age_days")
    if isinstance(days, str):
        try:
            found["max_age_days"] = float(days) if days.strip() not in ("", "None") else None
        except ValueError:
            raise AirflowException(f"max_age_days={days!r} is no number of days") from None
    return found


def check_for_xcom(task: Any, value: Any) -> Any:
    """Give the value back if XCom takes it, before it is stored and the task said to be done.

    Raises
    ------
    AirflowException
        It cannot go through XCom.
    """
    if not getattr(task, "do_xcom_push", True) or value is None:
        return value
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    if XCom.serialize_value is not BaseXCom.serialize_value:
        return value  # a backend of somebody's takes what it takes
    try:
        BaseXCom.serialize_value(value)
    except Exception as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise AirflowException(
            f"the result, a {kind}, cannot go through XCom ({error}); return what serializes, set "
            "do_xcom_push=False, or use the XCom backend airflow_provider_s3kv.xcom.S3KVXComBackend"
        ) from error
    return value
