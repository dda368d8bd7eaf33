"""The example, in fresh processes; and Airflow's own services with a real executor."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "flights.py"

RUN = """
import importlib.util, json, os, sys
path = os.path.join(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], "flights.py")
spec = importlib.util.spec_from_file_location("flights", path)
module = importlib.util.module_from_spec(spec)
sys.modules["flights"] = module
spec.loader.exec_module(module)
from airflow.models.dag import DAG
from airflow.models.xcom import XComModel
from airflow.sdk.serde import deserialize
from airflow.utils.session import create_session
from sqlalchemy import select
from airflow.sdk import DAG
dag = next(one for one in (module.flights(),) if isinstance(one, DAG))
run = dag.test()
with create_session() as session:
    rows = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "s3kv"))
    hits = {f"{row.task_id} {row.map_index}": deserialize(row.value)["hit"] for row in rows}
print(json.dumps({"state": str(run.state), "hits": hits}))
"""


@pytest.fixture
def environment(tmp_path: Path, connection: str) -> dict[str, str]:
    """An Airflow of its own, with the example in its folder."""
    dags = tmp_path / "dags"
    dags.mkdir()
    # Up to some hours after midnight, its schedule would have a run of its own beside the test's.
    text = EXAMPLE.read_text()
    assert 'schedule="@daily"' in text
    (dags / "flights.py").write_text(text.replace('schedule="@daily"', "schedule=None"))
    shutil.copy(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db", tmp_path / "airflow.db")
    found = json.loads(connection)
    found["extra"]["root"] = tmp_path.name
    return {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path / 'airflow.db'}",
        "AIRFLOW_CONN_S3KV_DEFAULT": json.dumps(found),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def run(environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_another_process_hits_and_an_edit_computes_what_depends_on_it(
    environment: dict[str, str],
) -> None:
    first = run(environment)
    assert first["state"] == "success"
    assert not any(first["hits"].values())
    # As on another machine: nothing is left but the bucket.
    shutil.rmtree(environment["XDG_CACHE_HOME"])
    second = run(environment)
    assert len(second["hits"]) == 6
    assert all(second["hits"].values())
    dag = Path(environment["AIRFLOW__CORE__DAGS_FOLDER"]) / "flights.py"
    dag.write_text(dag.read_text().replace("LATE_MINUTES = 15", "LATE_MINUTES = 30"))
    third = run(environment)
    assert {name for name, hit in third["hits"].items() if hit} == {"load -1", "clean -1"}


class Services:
    """Airflow's api-server, scheduler and DAG processor on loopback, with the LocalExecutor."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **environment,
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of-a-test-" * 8,
            "AIRFLOW__API__SECRET_KEY": "of-a-test-" * 8,
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
            "AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",
        }
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Services:
        airflow = str(Path(sys.executable).with_name("airflow"))
        for command in (
            ["api-server", "--host", "127.0.0.1", "--port", str(self.port)],
            ["dag-processor"],
            ["scheduler", "--skip-serve-logs"],
        ):
            with (self.folder / f"{command[0]}.log").open("wb") as log:
                self.running.append(
                    subprocess.Popen(
                        [airflow, *command], env=self.environment, stdout=log, stderr=log
                    )
                )
        return self

    def __exit__(self, *exception: object) -> None:
        for one in self.running:
            one.terminate()
        for one in self.running:
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self.token()},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    def token(self) -> dict[str, str]:
        with urllib.request.urlopen(f"{self.url}/auth/token", timeout=120) as answer:
            return {"Authorization": f"Bearer {json.loads(answer.read())['access_token']}"}

    def until(self, look: Any, seconds: float = 240) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = look()
            except OSError:
                found = None
            if found:
                return found
            if time.monotonic() > deadline:
                logs = [
                    (self.folder / f"{n}.log").read_text()[-1500:]
                    for n in ("scheduler", "api-server")
                ]
                raise AssertionError("\n".join(logs))
            time.sleep(1)

    def run(self, dag_id: str) -> str:
        body = {"logical_date": None, "conf": {}}
        run_id = self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]

        def ended() -> Any:
            state = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in ("success", "failed") else None

        assert self.until(ended) == "success"
        return str(run_id)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str, index: int = -1) -> Any:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.ask("GET", f"{path}?map_index={index}&deserialize=false")["value"]


@pytest.mark.services
@pytest.mark.timeout(900)
def test_real_workers_hit_what_other_workers_have_computed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with Services(environment, tmp_path) as services:
        services.until(lambda: services.ask("GET", "/api/v2/dags/flights"))
        services.ask("PATCH", "/api/v2/dags/flights?update_mask=is_paused", {"is_paused": False})
        runs = [services.run("flights") for _ in range(2)]
        told = [
            [services.xcom("flights", run, task, "s3kv") for task in ("load", "clean", "report")]
            for run in runs
        ]
        hits = [
            ["'hit': True" in str(one) or '"hit": true' in str(one) for one in each]
            for each in told
        ]
        assert hits == [[False] * 3, [True] * 3], told
        results = [services.xcom("flights", run, "report", "return_value") for run in runs]
        assert results[0] == results[1]
        link = services.ask(
            "GET", f"/api/v2/dags/flights/dagRuns/{runs[1]}/taskInstances/report/links"
        )
        assert "/cache/" in str(link)
