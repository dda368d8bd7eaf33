"""With Prefect's own server: flows, saved blocks, runners, artifacts, and fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[1] / "examples" / "flights.py"

FLOWS = """
import json, subprocess, sys
from datetime import timedelta
import s3kv_flow as s3kv
from prefect import flow, task
from prefect.artifacts import Artifact
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

from prefect_s3kv import S3KVLockManager, S3KVPolicy, S3KVStorage, cached_task, clear_old_cache_flow

import steps


def names(states):
    return sorted({state.name for state in states})


def mapped(runner, items):
    @flow(task_runner=runner)
    def over():
        futures = steps.square.map(items)
        results = [future.result() for future in futures]
        return names(future.state for future in futures), results

    return over()


def main():
    told = {}
    with prefect_test_harness(server_startup_timeout=180):
        from prefect_s3kv.cli import main as cli

        cli(["setup", "--name", "prod", "--set-default"], standalone_mode=False)

        @flow
        def by_name():
            by = task(steps.double.fn, cache_policy=S3KVPolicy(), result_storage="s3kv-storage/prod")
            return [by(21, return_state=True).name, by(21, return_state=True).name]

        told["by name"] = by_name()

        @flow
        def by_default():
            by = task(steps.half, cache_policy=S3KVPolicy(), persist_result=True)
            return [by(8, return_state=True).name, by(8, return_state=True).name]

        told["by default"] = by_default()
        items = list(range(1000))
        for name, runner in (("threads", ThreadPoolTaskRunner(max_workers=8)),
                             ("again", ThreadPoolTaskRunner(max_workers=8))):
            kinds, results = mapped(runner, items)
            assert results == [x * x for x in items]
            told[name] = kinds
        from prefect_dask import DaskTaskRunner

        for name, runner in (("processes", ProcessPoolTaskRunner(max_workers=2)),
                             ("dask", DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}))):
            kinds, results = mapped(runner, items[:20])
            assert results == [x * x for x in items[:20]]
            told[name] = kinds

        @flow
        def shared():
            steps.double("task")
            return steps.double("xy", return_state=True).name

        told["shared"] = shared()
        read = subprocess.run([sys.executable, "reader.py"], capture_output=True, text=True)
        told["read"] = read.stdout or read.stderr
        dry = clear_old_cache_flow(max_days=0, dry_run=True)
        report = clear_old_cache_flow(max_days=0)
        assert dry["by_function"]["steps.square"] == 1000, dry
        told["cleared"] = report["by_function"]["steps.square"]
        told["artifact"] = "steps.square" in Artifact.get("s3kv-cache-cleaning").data
        told["after"] = mapped(ThreadPoolTaskRunner(max_workers=8), items[:3])[0]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
"""

STEPS = """
import s3kv_flow as s3kv
from prefect_s3kv import S3KVLockManager, cached_task


@cached_task(isolation_level="SERIALIZABLE", lock_manager=S3KVLockManager.from_env())
def square(x):
    return x * x


@cached_task(version=1)
def double(x):
    return x + x


def half(x):
    return x / 2
"""

SCRIPT = """
import s3kv_flow as s3kv, steps

print(s3kv.cached(steps.double.fn, version=1)("xy"))
"""


READER = """
import s3kv_flow as s3kv, steps

with s3kv.mode("require_hit"):
    print(s3kv.cached(steps.double.fn, version=1)("task"))
"""


@pytest.fixture
def environment(seaweed: dict[str, str], tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PREFECT_API_URL", "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED")
    }
    return {
        **kept,
        **seaweed,
        "S3KV_ROOT": tmp_path.name,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": str(tmp_path),
    }


def run(script: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=script.parent,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_flows_blocks_runners_and_cleaning(environment: dict[str, str], tmp_path: Path) -> None:
    for name, text in (("steps", STEPS), ("flows", FLOWS), ("script", SCRIPT), ("reader", READER)):
        (tmp_path / f"{name}.py").write_text(text)
    # A script has stored it, and a task of a flow in another process finds it.
    assert run(tmp_path / "script.py", environment) == "xyxy\n"
    told = json.loads(run(tmp_path / "flows.py", environment).splitlines()[-1])
    assert told == {
        "by name": ["Completed", "Cached"],
        "by default": ["Completed", "Cached"],
        "threads": ["Completed"],
        "again": ["Cached"],
        "processes": ["Cached"],
        "dask": ["Cached"],
        "shared": "Cached",
        "read": "tasktask\n",
        "cleared": 1000,
        "artifact": True,
        "after": ["Completed"],
    }


def test_the_example_runs_again_all_cached_and_after_an_edit_in_part(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    for file in EXAMPLE.parent.glob("*.py"):
        (folder / file.name).write_text(file.read_text())
    first, second = (
        json.loads(run(folder / "flights.py", environment, "--json")) for _ in range(2)
    )
    assert set(first.values()) == {"Completed"}
    assert set(second.values()) == {"Cached"}
    steps = folder / "steps.py"
    steps.write_text(steps.read_text().replace("LATE_MINUTES = 15", "LATE_MINUTES = 30"))
    third = json.loads(run(folder / "flights.py", environment, "--json"))
    assert {name for name, state in third.items() if state == "Cached"} == {"load", "clean"}
