"""`S3KVXComBackend`: large XComs in S3, and what is small in the database as ever.

An object lies under ``xcom/<dag>/<run>/<task>/<map index>/<key>``, so that a retry takes the place of
what it wrote before. What Airflow clears without telling the backend is swept by age:
`S3KVClearOldCacheOperator`.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote, unquote

from airflow.sdk import conf
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowException

import s3kv_flow as s3kv
from airflow_provider_s3kv.hooks import store_for_task

#: Before the key of an object, in the database and in the UI.
SCHEME: Final = "s3kv-xcom://"
#: What the keys of all of them begin with.
PREFIX: Final = "xcom/"
MAX_PATH_BYTES: Final = 900
DEFAULT_THRESHOLD_BYTES: Final = 32 * 1024


def threshold_bytes() -> int:
    """Give the size from which a value goes to S3."""
    found = conf.getint("s3kv", "xcom_threshold_bytes", fallback=DEFAULT_THRESHOLD_BYTES)
    return int(found)


def _store() -> s3kv.S3KV:
    # Airflow imports this module while it imports itself.

    return store_for_task(conf.get("s3kv", "xcom_conn_id", fallback=None) or None)


class S3KVXComBackend(BaseXCom):  # type: ignore[misc]
    """Keeps large values, and those that the database does not take, in the store.

    ``AIRFLOW__CORE__XCOM_BACKEND=airflow_provider_s3kv.xcom.S3KVXComBackend``; its store is that of
    the connection ``[s3kv] xcom_conn_id``, by default ``s3kv_default``.
    """

    @staticmethod
    def serialize_value(
        value: Any,
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> Any:
        """Give what the database keeps: the value, or where it is.

        Raises
        ------
        AirflowException
            The database does not take the value, and the store cannot keep it.
        """
        index = -1 if map_index is None else map_index
        return _kept(
            value, "/".join(_segment(one) for one in (dag_id, run_id, task_id, index, key))
        )

    @classmethod
    def store_value(cls, coordinate: Any, key: str, value: Any) -> Any:
        """Do the same for a later Airflow, which tells where an XCom belongs as one object."""
        path = coordinate.build_path("", key, suffix="", max_length=MAX_PATH_BYTES)
        return _kept(value, "/".join(_segment(unquote(one)) for one in path.split("/") if one))

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Give the value.

        Raises
        ------
        AirflowException
            It was swept, or is sealed with a key that is not at hand.
        """
        data = BaseXCom.deserialize_value(result)
        if not (isinstance(data, str) and data.startswith(SCHEME)):
            return data
        path = data.removeprefix(SCHEME)
        if not path.startswith(PREFIX):
            raise AirflowException(f"the reference {data!r} is none of an XCom")
        try:
            return _store()[path]
        except s3kv.KeyNotFoundError:
            raise AirflowException(
                f"the XCom {path} is no longer in the store: it was swept, or its task cleared"
            ) from None

    @classmethod
    def purge(cls, xcom: Any, *args: Any) -> None:
        """Delete the object of an XCom that Airflow deletes."""
        value = xcom.value
        if isinstance(value, str) and value.startswith(SCHEME + PREFIX):
            _store().delete(value.removeprefix(SCHEME))


def _kept(value: Any, path: str) -> Any:
    try:
        plain = BaseXCom.serialize_value(value)
        size = len(json.dumps(plain, default=str))
    except Exception as error:
        plain, size, refused = None, -1, error
    # A text that looks like a reference is no reference.
    looks_like_one = isinstance(value, str) and value.startswith(SCHEME)
    if 0 <= size < threshold_bytes() and not looks_like_one:
        return plain
    try:
        _store().add(PREFIX + path, value)
    except Exception as error:
        if size >= 0 and not looks_like_one:
            # Large, but the database may take it: better there than lost.
            import logging

            logging.getLogger("airflow_provider_s3kv").warning(
                "the XCom %s stays in the database: %s", path, error
            )
            return plain
        raise AirflowException(
            f"the XCom {path} goes neither into the database ({refused}) nor into the store "
            f"({error})"
        ) from error
    return BaseXCom.serialize_value(f"{SCHEME}{PREFIX}{path}")


def _segment(part: Any) -> str:
    text = quote(str(part if part is not None else "none"), safe="+:@=")
    return text.replace(".", "%2E") if text.strip(".") == "" else text
