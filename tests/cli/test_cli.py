"""The command line, as a person and as a program would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import s3kv_flow as s3kv
from s3kv_flow._server import GRPC_OFFSET, PORTS, LocalServer, free_ports


def run(*arguments: str, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "s3kv_flow", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,  # pytest's own bound is shorter, but for the demo
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stdout + done.stderr


def test_help_names_the_commands() -> None:
    text = run("--help")
    assert all(command in text for command in ("local", "keys", "demo"))
    assert run("--version").strip() == f"s3kv, version {s3kv.__version__}"
    assert "No such command" in run("nonsense", status=2)


def test_a_server_of_ones_own(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path / "server")]
    assert "not running" in run("local", "status", *folder, status=1)
    assert "s3kv local start" in run("local", "env", *folder, status=3)
    try:
        started = json.loads(run("local", "start", *folder, "--json"))
        assert started["running"]
        assert "already running" in run("local", "start", *folder)
        environment = json.loads(run("local", "env", *folder, "--json"))
        shell = run("local", "env", *folder)
        assert f"export S3_ENDPOINT_URL={started['endpoint_url']}\n" in shell
        script = "import s3kv_flow as s3kv; kv = s3kv.S3KV(); kv['a'] = (1, 2); print(kv['a'])"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "(1, 2)\n"
        assert "running at http://127.0.0.1:" in run("local", "status", *folder)
        run("local", "stop", *folder)
        again = json.loads(run("local", "start", *folder, "--json", **environment))
        assert again["endpoint_url"] == started["endpoint_url"]  # and no credentials of the shell
        for name in ("s3.json", "keyring"):
            assert (tmp_path / "server" / name).stat().st_mode & 0o077 == 0
    finally:
        run("local", "stop", *folder)
    run("local", "stop", *folder, status=1)
    run("local", "start", *folder)
    try:
        again = json.loads(run("local", "env", *folder, "--json"))
        done = subprocess.run(
            [sys.executable, "-c", "import s3kv_flow as s3kv; print(s3kv.S3KV()['a'])"],
            env={**os.environ, **again},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "(1, 2)\n"  # data, credentials and keyring outlive the process
    finally:
        run("local", "stop", *folder)


def test_no_connection_of_the_machine_takes_the_ports_of_a_server_meanwhile() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 49_152  # as IANA says
    for _ in range(100):
        assert free_ports() + GRPC_OFFSET + PORTS <= first


def test_buckets_of_the_local_server_have_object_lock(seaweed: LocalServer) -> None:
    from s3kv_flow.stores.control import Boto3Objects

    assert seaweed.create_bucket("lockable")
    assert not seaweed.create_bucket("lockable")
    client = Boto3Objects(seaweed.connection("lockable"))._requests.client(retries=True)
    found = client.get_object_lock_configuration(Bucket="lockable")
    assert found["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"


def test_a_taken_port_is_refused_with_the_way_out(tmp_path: Path, seaweed: LocalServer) -> None:
    running = seaweed.running()
    assert running is not None
    text = run(
        *("local", "start", "--folder", str(tmp_path / "other"), "--port", str(running.port)),
        status=2,
    )
    assert "taken" in text
    assert "--port" in text


def test_keys_generate(tmp_path: Path) -> None:
    assert len(list(s3kv.Keyring.parse(run("keys", "generate", "--id", "prod")))) == 1
    path = tmp_path / "ring"
    assert f"S3KV_KEYRING_FILE={path}" in run("keys", "generate", "--file", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "there already" in run("keys", "generate", "--file", str(path), status=2)


@pytest.mark.slow
@pytest.mark.timeout(300)  # the pipeline, five times: half of this on a slow machine
def test_the_demo_shows_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    text = run("demo", "--folder", str(folder), COLUMNS="120")
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if len(cells) == 6:
            rows[cells[0]] = [cell.split()[-1] for cell in cells[1:]]
    assert rows["load"] == ["run", "disk", "S3", "disk", "disk"]
    assert rows["clean"] == ["run", "disk", "S3", "disk", "disk"]
    for step in ("join_weather", "features", "train", "report"):
        assert rows[step] == ["run", "disk", "S3", "run", "disk"]
    assert "clear_old_cache(max_days=7) took 0 entries" in text
    assert (folder / "flights.png").stat().st_size > 20_000
    assert LocalServer(folder / "server").running() is None
    assert "is no demo's" in run("demo", "--folder", str(tmp_path), status=2)
