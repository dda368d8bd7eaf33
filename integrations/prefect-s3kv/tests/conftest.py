"""Tests of Prefect's results, most of them with no server: its engine runs tasks without one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before Prefect is imported: nothing of this machine's settings, and no server that it would start.
_HOME = tempfile.mkdtemp(prefix="prefect-s3kv-")
for _name in list(os.environ):
    if _name.startswith(("AWS_", "S3_", "S3KV_", "PREFECT_")):
        del os.environ[_name]
os.environ.update(
    PREFECT_HOME=_HOME,
    PREFECT_API_URL="http://127.0.0.1:9/api",
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED="false",
    PREFECT_LOGGING_TO_API_ENABLED="false",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    # Scripts start Prefect's own server, which a busy machine does not do in its 20 seconds.
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
    PREFECT_LOGGING_LEVEL="WARNING",
    DO_NOT_TRACK="1",
    AWS_EC2_METADATA_DISABLED="true",
)

import pytest
from prefect.context import SyncClientContext
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer
from s3kv_flow.testing import ManualClock, memory_store
from s3kv_flow.testing.stores import CountingStore, MemoryStore

EventsWorker.set_client_override(NullEventsClient)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counting(clock: ManualClock) -> CountingStore:
    return CountingStore(MemoryStore(clock))


@pytest.fixture
def kv(counting: CountingStore, clock: ManualClock) -> Iterator[s3kv.S3KV]:
    """The default store: a bucket in memory, and a cache on disk before it."""
    store = memory_store(counting, clock=clock, keyring=s3kv.Keyring.generate())
    s3kv.configure(store)
    yield store
    store.close()


@pytest.fixture
def engine() -> Iterator[None]:
    """One client for all tasks of a test, as a flow run has."""
    with SyncClientContext.get_or_create():
        yield


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that names a bucket on a real S3 server."""
    server = LocalServer(tmp_path_factory.mktemp("seaweed"))
    server.start()
    server.create_bucket("results", object_lock=True)
    yield server.environment("results")
    server.stop()
