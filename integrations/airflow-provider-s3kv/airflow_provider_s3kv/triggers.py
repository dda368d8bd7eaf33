"""`S3KVEntryTrigger`: looks for an entry in the triggerer, without keeping its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class S3KVEntryTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when there is an entry under a key.

    Parameters
    ----------
    key : str
        The key.
    poke_interval : float
        Seconds between two looks.
    s3kv_conn_id : str, optional
        The connection.
    """

    def __init__(
        self, key: str, poke_interval: float = 60.0, s3kv_conn_id: str | None = None
    ) -> None:
        super().__init__()
        self.key = key
        self.poke_interval = poke_interval
        self.s3kv_conn_id = s3kv_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what it is made of again from."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "key": self.key,
                "poke_interval": self.poke_interval,
                "s3kv_conn_id": self.s3kv_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until it is there."""
        from airflow_provider_s3kv.hooks import S3KVHook, store_of
        from airflow_provider_s3kv.sensors import is_there

        try:
            store: Any = None
            if self.s3kv_conn_id is not None:
                connection = await S3KVHook.aget_connection(self.s3kv_conn_id)
                store = await asyncio.to_thread(store_of, connection)
            else:
                from airflow_provider_s3kv.hooks import store_for_task

                store = await asyncio.to_thread(store_for_task, None)
            # Making clients and asking them are both done in a thread: the loop is everybody's.
            while not await asyncio.to_thread(is_there, self.key, store):
                await asyncio.sleep(self.poke_interval)
            yield TriggerEvent({"status": "success", "key": self.key})
        except Exception as error:
            yield TriggerEvent({"status": "error", "error": str(error)})
