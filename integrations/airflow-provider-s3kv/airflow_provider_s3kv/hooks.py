"""`S3KVHook`: a store from a connection of type ``s3kv``."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from airflow.sdk import BaseHook

import s3kv_flow as s3kv
from s3kv_flow import Keyring

logger = logging.getLogger("airflow_provider_s3kv")

#: What a connection's extra may say, by the names of `s3kv_flow.S3KV`.
EXTRAS = ("bucket", "region", "root", "cache_dir", "local_cache", "allow_unsigned_pickle")
#: The text of a keyring; Airflow hides what is called a secret.
KEYRINGS = ("keyring_secret", "keyring")

_stores: dict[str, s3kv.S3KV] = {}
_lock = threading.Lock()


class S3KVHook(BaseHook):
    """Gives the store that a connection names.

    Host (with port and schema) is the endpoint, AWS where there is none; login and password are the
    credentials, the ordinary AWS chain where there are none; the extra has ``bucket``, ``region``,
    ``root``, ``keyring_secret`` (the text of a keyring), ``cache_dir``, ``local_cache``,
    ``allow_unsigned_pickle``.

    Parameters
    ----------
    s3kv_conn_id : str
        The connection.
    """

    conn_name_attr = "s3kv_conn_id"
    default_conn_name = "s3kv_default"
    conn_type = "s3kv"
    hook_name = "S3KV"

    def __init__(self, s3kv_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.s3kv_conn_id = s3kv_conn_id

    def get_conn(self) -> s3kv.S3KV:
        """Give the store; one a process for each set of settings.

        Raises
        ------
        AirflowNotFoundException
            There is no such connection.
        ConfigurationError
            It names no bucket, or a setting has no meaning.
        """
        return store_of(self.get_connection(self.s3kv_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the bucket can be read and written, and what its server can do."""
        try:
            store = self.get_conn()
            next(store.iter_keys(), None)
            can = store.capabilities
        except Exception as error:
            return False, str(error)
        lacking = [
            what
            for what, has in (
                ("creating conditionally", can.create_only),
                ("swapping conditionally", can.compare_and_swap),
            )
            if not has
        ]
        if lacking:
            return True, f"{store.location} works, but its server lacks {' and '.join(lacking)}"
        return True, f"{store.location} can be read and written"


def store_of(connection: Any) -> s3kv.S3KV:
    """Give the store that a connection describes."""
    extra = dict(connection.extra_dejson)
    _say_unknown(connection.conn_id, set(extra).difference(EXTRAS, KEYRINGS))
    settings: dict[str, Any] = {
        name: extra[name] for name in EXTRAS if extra.get(name) not in (None, "")
    }
    if connection.host:
        host = connection.host
        url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
        port = f":{connection.port}" if connection.port and not url[8:].count(":") else ""
        settings["endpoint_url"] = url + port
    if connection.login:
        settings["access_key_id"] = connection.login
        settings["secret_access_key"] = connection.password
    keyring = next((extra[name] for name in KEYRINGS if extra.get(name)), None)
    if keyring:
        _mask(keyring)
        settings["keyring"] = keyring
    which = json.dumps(settings, sort_keys=True, default=repr)
    with _lock:
        if which not in _stores:
            if keyring:
                settings["keyring"] = Keyring.parse(keyring)
            _stores[which] = s3kv.S3KV(**settings)
        return _stores[which]


def _say_unknown(conn_id: str | None, unknown: set[str]) -> None:
    """Say once of a connection what it says in vain: a misspelt name would be left at its default."""
    which = f"{conn_id} {sorted(unknown)}"
    if unknown and which not in _said:
        _said.add(which)
        logger.warning(
            "the extra of connection %s has %s, which mean nothing here; known are %s",
            conn_id,
            ", ".join(sorted(unknown)),
            ", ".join((*EXTRAS, KEYRINGS[0])),
        )


def _mask(keyring: str) -> None:
    """Keep the keys of a keyring out of logs, whatever a task prints."""
    from airflow.sdk.log import mask_secret

    for line in keyring.replace(",", "\n").splitlines():
        _, _, secret = line.strip().partition(":")
        if secret:
            mask_secret(secret)


def store_for_task(conn_id: str | None) -> s3kv.S3KV:
    """Give the store of a task: of its connection, else of ``s3kv_default``, else of the environment.

    Raises
    ------
    AirflowNotFoundException
        The connection that the task names does not exist.
    """
    if conn_id is not None:
        return S3KVHook(conn_id).get_conn()
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return S3KVHook().get_conn()
    except AirflowNotFoundException:
        store = s3kv.default_store()
        if store._backend.local_only and "s3kv_default" not in _said:
            _said.add("s3kv_default")
            logger.warning(
                "there is no connection s3kv_default, and no S3_BUCKET: results are cached on this "
                "machine only, and shared with no other"
            )
        return store


_said: set[str] = set()
