"""`S3KVEntrySensor`: waits until a result is there, without a worker if it may defer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, conf
from airflow.sdk.exceptions import AirflowException

import s3kv_flow as s3kv
from airflow_provider_s3kv.hooks import store_for_task
from airflow_provider_s3kv.triggers import S3KVEntryTrigger
from s3kv_flow.adapters import CachedCalls, calls_at


class S3KVEntrySensor(BaseSensorOperator):  # type: ignore[misc]
    """Waits for an entry: of a key, or of a function's call.

    Parameters
    ----------
    key : str, optional
        The key of a memoized result (``cache/...``) or of a value.
    function : callable, optional
        In its place: the function, with ``op_kwargs`` as its arguments.
    op_kwargs : dict, optional
        The arguments.
    policy : s3kv_flow.Policy, optional
        The options of the function's caching.
    s3kv_conn_id : str, optional
        The connection.
    deferrable : bool
        Wait in the triggerer.

    Raises
    ------
    ValueError
        Neither a key nor a function is given, or both are.
    """

    template_fields: Sequence[str] = ("key", "op_kwargs")

    def __init__(
        self,
        *,
        key: str | None = None,
        function: Callable[..., Any] | None = None,
        op_kwargs: dict[str, Any] | None = None,
        policy: s3kv.Policy | None = None,
        s3kv_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (key is None) == (function is None):
            raise ValueError("give key= or function=, and not both")
        self.key = key
        self.function = function
        self.op_kwargs = op_kwargs or {}
        self.policy = policy
        self.s3kv_conn_id = s3kv_conn_id
        self.deferrable = deferrable

    def _key(self, store: s3kv.S3KV) -> str:
        if self.function is None:
            return str(self.key)
        return str(CachedCalls(self.function, self.policy, store).call(**self.op_kwargs).key)

    def poke(self, context: Any) -> bool:
        """Whether it is there."""
        store = store_for_task(self.s3kv_conn_id)
        key = self._key(store)
        self.log.info("looks for %s in %s", key, store.location)
        return is_there(key, store)

    def execute(self, context: Any) -> Any:
        """Wait for it, in the triggerer if it may."""
        if not self.deferrable:
            return super().execute(context)
        store = store_for_task(self.s3kv_conn_id)
        key = self._key(store)
        self.log.info("waits for %s in %s", key, store.location)
        if is_there(key, store):
            return None
        self.defer(
            trigger=S3KVEntryTrigger(key, self.poke_interval, self.s3kv_conn_id),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )
        return None

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> None:
        """Go on once the trigger has seen it.

        Raises
        ------
        AirflowException
            The trigger failed.
        """
        if not event or event.get("status") != "success":
            raise AirflowException(f"waiting for the entry failed: {(event or {}).get('error')}")


def is_there(key: str, store: s3kv.S3KV) -> bool:
    """Whether there is an entry, or a value, under a key."""
    if key.startswith("cache/"):
        calls, call = calls_at(key, store=store)
        return calls.peek(call) is not None
    return bool(store.exists(key))
