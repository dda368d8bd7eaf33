"""`S3KVStorage`: Prefect's results as entries of the cache, which every front end reads."""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional, Union

import prefect
from prefect.filesystems import WritableFileSystem
from prefect.results import ResultRecord  # type: ignore[attr-defined]
from pydantic import Field, HttpUrl, SecretStr, ValidationError

import s3kv_flow as s3kv
from prefect_s3kv.calls import Known, known_of
from prefect_s3kv.events import emit
from prefect_s3kv.serializer import hand_over
from prefect_s3kv.stores import store_of
from prefect_s3kv.tags import run_tags
from s3kv_flow.adapters import CachedCall, CachedCalls, calls_at

logger = logging.getLogger("prefect_s3kv")

#: Below this prefix lie results without a key of ours: of flows, of exceptions, of other policies.
OTHERS = "prefect/"

AnyPath = Union[Path, str]


class S3KVStorage(WritableFileSystem):
    """
    Stores task results on S3 as entries of s3kv-flow, with a cache on this machine before it.

    A result that `@s3kv.cached` stored for the same function and arguments is found by the task,
    and the other way round. What is not given comes from the environment, as for `s3kv_flow.S3KV`.

    Example:
        Load a saved block, and use it for the results of a task:

        ```python
        from prefect_s3kv import S3KVStorage

        storage = S3KVStorage.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "S3KV Storage"
    _block_type_slug = "s3kv-storage"
    # Prefect's own picture of S3, as its blocks for AWS show it.
    _logo_url = HttpUrl(
        "https://cdn.sanity.io/images/3ugk85nk/production/d74b16fe84ce626345adf235a47008fea2869a60-225x225.png"
    )
    _documentation_url = HttpUrl("https://pypi.org/project/prefect-s3kv/")

    endpoint_url: Optional[str] = Field(
        default=None, description="The URL of the S3 server; AWS if it is not given."
    )
    bucket: Optional[str] = Field(
        default=None, description="The bucket; else the default store of the process is used."
    )
    access_key_id: Optional[str] = Field(
        default=None, description="The access key; the AWS chain is asked if it is not given."
    )
    secret_access_key: Optional[SecretStr] = Field(
        default=None, description="The secret that belongs to the access key."
    )
    region: Optional[str] = Field(default=None, description="The region to sign for.")
    root: Optional[str] = Field(default=None, description="The prefix of all objects.")
    cache_dir: Optional[str] = Field(
        default=None, description="The folder of the cache on this machine."
    )
    local_cache: Optional[str] = Field(
        default=None, description="How entries lie on this machine: opened, sealed or off."
    )
    keyring: Optional[SecretStr] = Field(
        default=None, description="The text of the keyring that seals entries."
    )
    allow_unsigned_pickle: Optional[bool] = Field(
        default=None, description="Store and load pickles without a keyring."
    )
    max_age_days: Optional[float] = Field(
        default=None,
        ge=0,
        description="Results older than this are computed again, unless the policy says otherwise.",
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="S3 tags of every result, besides those of its task."
    )

    def store(self) -> s3kv.S3KV:
        """Give the store, which all blocks with these settings share."""
        settings: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                *("endpoint_url", "bucket", "access_key_id", "region", "root", "cache_dir"),
                *("local_cache", "allow_unsigned_pickle"),
            )
        }
        for name in ("secret_access_key", "keyring"):
            secret = getattr(self, name)
            settings[name] = None if secret is None else secret.get_secret_value()
        return store_of(settings)

    # Prefect joins keys to a path of the block's own where it has one.
    def _resolve_path(self, path: AnyPath) -> None:
        return None

    # Prefect calls the sync form with ``_sync``, and the async one by the name with an ``a``.
    def read_path(  # type: ignore[override]
        self, path: AnyPath, _sync: bool | None = None
    ) -> bytes | None:
        """Give the record of a result; None where there is none, or it is too old.

        Raises
        ------
        FileNotFoundError
            The store could not be asked; counted, logged once, and emitted as an event.
        """
        key = str(path)
        known = known_of(key)
        if known is not None and known.read is not None:
            # `exists` has just read it, and a `read` that failed now would fail the task.
            read, known.read = known.read, None
            return _record(*read)
        try:
            found = self._entry(key, known) if key.startswith("cache/") else None
            if found is not None or known is not None:
                return found
            document = self.store().get(OTHERS + key)
        except s3kv.MissError:
            raise
        except Exception as error:
            self._failed(key, error)
            raise FileNotFoundError(f"{key}: {error}") from error
        return document if isinstance(document, bytes) else None

    def _entry(self, key: str, known: Known | None) -> bytes | None:
        calls, call = (known.calls, known.call) if known is not None else self._calls_at(key)
        began = time.perf_counter()
        calls = calls.on(self.store())
        before = dict(calls.cache_info().errors)
        found = calls.look(call)
        for code, count in calls.cache_info().errors.items():
            if count > before.get(code, 0):
                emit("error", calls.name, key=key, error=code)
        if found is not None and self._is_too_old(calls, found.created):
            found = None
        what = "miss" if found is None else "hit"
        emit(what, calls.name, key=key, milliseconds=round(1000 * (time.perf_counter() - began), 2))
        if found is None:
            return None
        about = found.about.get("prefect", {})
        metadata = {
            "storage_key": key,
            "expiration": about.get("expiration"),
            "serializer": {"type": "pickle"},
            "prefect_version": prefect.__version__,
            "storage_block_id": str(self._block_document_id) if self._block_document_id else None,
        }
        if known is not None:
            known.read = metadata, found.value
        return _record(metadata, found.value)

    def _calls_at(self, key: str) -> tuple[CachedCalls, CachedCall]:
        return calls_at(key, store=self.store())

    def _is_too_old(self, calls: CachedCalls, created: datetime) -> bool:
        if self.max_age_days is None or calls.policy.age_limit is not None:
            return False
        return datetime.now(timezone.utc) - created >= timedelta(days=self.max_age_days)

    def write_path(  # type: ignore[override]
        self, path: AnyPath, content: bytes, _sync: bool | None = None
    ) -> None:
        """Store the record of a result.

        Raises
        ------
        S3KVError
            It could not be stored. Prefect logs it; the task has its result all the same.
        """
        key = str(path)
        known = known_of(key)
        try:
            if known is None:
                self.store().add(OTHERS + key, content, tags=run_tags(self.tags))
            else:
                self._store_entry(known, content)
        except Exception as error:
            self._failed(key, error)
            raise

    def _store_entry(self, known: Known, content: bytes) -> None:
        try:
            record: Any = ResultRecord.deserialize(content)
        except ValidationError as error:
            raise TypeError(
                "the record was split by key_storage=, which S3KVStorage needs not: leave it out"
            ) from error
        expiration = record.metadata.expiration
        about = {"expiration": expiration.isoformat()} if expiration is not None else {}
        known.read = None
        known.calls.on(self.store()).store(
            known.call,
            record.result,
            seconds=time.perf_counter() - known.started,
            tags=run_tags(known.call.tags, self.tags, task=known.task),
            about={"prefect": about},
        )

    def _failed(self, key: str, error: Exception) -> None:
        """Say what Prefect keeps to itself."""
        what = type(error).__name__
        if what not in _said:
            _said.add(what)
            logger.warning("results are not cached for now: %s", error)
        emit("error", key, key=key, error=what, text=str(error)[:500])

    async def aread_path(self, path: AnyPath) -> bytes | None:
        """Do as :meth:`read_path`, in a thread."""
        from asyncio import to_thread

        return await to_thread(self.read_path, path)

    async def awrite_path(self, path: AnyPath, content: bytes) -> None:
        """Do as :meth:`write_path`, in a thread."""
        from asyncio import to_thread

        await to_thread(self.write_path, path, content)


_said: set[str] = set()


def _record(metadata: dict[str, Any], value: Any) -> bytes:
    """Give a record that is read in this process, at once."""
    return json.dumps({"metadata": metadata, "result": hand_over(value)}).encode()
