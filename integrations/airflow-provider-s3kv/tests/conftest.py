"""One Airflow for all tests: its database is migrated once, and its settings are nobody else's."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before Airflow is imported.
HOME = Path(tempfile.mkdtemp(prefix="airflow-s3kv-"))
DAGS = HOME / "dags"
DAGS.mkdir()
for _name in list(os.environ):
    if _name.startswith(("AWS_", "S3_", "S3KV_", "AIRFLOW")):
        del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__XCOM_BACKEND="airflow_provider_s3kv.xcom.S3KVXComBackend",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME / 'airflow.db'}",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    AWS_EC2_METADATA_DISABLED="true",
    NO_PROXY="127.0.0.1,localhost",
    XDG_CACHE_HOME=str(HOME / "cache"),
    XDG_CONFIG_HOME=str(HOME / "config"),
)
subprocess.run(
    [str(Path(sys.executable).with_name("airflow")), "db", "migrate"],
    check=True,
    capture_output=True,
    timeout=180,
)

import pytest

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer
from s3kv_flow.testing import ManualClock, memory_store
from s3kv_flow.testing.stores import CountingStore, MemoryStore


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


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that names a bucket on a real S3 server."""
    server = LocalServer(tmp_path_factory.mktemp("seaweed"))
    server.start()
    server.create_bucket("results", object_lock=True)
    yield server.environment("results")
    server.stop()


@pytest.fixture(scope="session")
def connection(seaweed: dict[str, str]) -> str:
    """The same bucket as the text of an Airflow connection."""
    keyring = Path(seaweed["S3KV_KEYRING_FILE"]).read_text()
    return json.dumps(
        {
            "conn_type": "s3kv",
            "host": seaweed["S3_ENDPOINT_URL"],
            "login": seaweed["AWS_ACCESS_KEY_ID"],
            "password": seaweed["AWS_SECRET_ACCESS_KEY"],
            "extra": {"bucket": "results", "keyring_secret": keyring},
        }
    )


class Result:
    """What a run of a DAG has left: states, XComs and asset events."""

    def __init__(self, run: Any) -> None:
        from airflow.models.asset import AssetEvent, AssetModel
        from airflow.models.xcom import XComModel
        from airflow.sdk.execution_time.xcom import XCom
        from airflow.utils.session import create_session
        from sqlalchemy import select

        self.state = str(run.state)
        self.states = {
            (one.task_id, one.map_index): str(one.state) for one in run.get_task_instances()
        }
        with create_session() as session:
            rows = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id))
            self.stored = {(one.task_id, one.map_index, one.key): one.value for one in rows}
            events = session.execute(
                select(AssetModel.uri, AssetEvent.source_task_id)
                .join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
                .where(AssetEvent.source_run_id == run.run_id)
            )
            self.events = sorted({(uri, task) for uri, task in events})
        self.xcoms = {
            where: XCom.deserialize_value(type("Stored", (), {"value": value}))
            for where, value in self.stored.items()
        }

    def value(self, task: str, index: int = -1) -> Any:
        return self.xcoms.get((task, index, "return_value"))

    def hit(self, task: str, index: int = -1) -> bool | None:
        told = self.xcoms.get((task, index, "s3kv"))
        return None if told is None else told["hit"]


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a DAG, given as the text of its file, and give what it has left."""

    def run(name: str, text: str | None = None, **conf: Any) -> Result:
        path = DAGS / f"{name}.py"
        if text is not None:
            path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return Result(module.DAG.test(run_conf=conf))

    return run
