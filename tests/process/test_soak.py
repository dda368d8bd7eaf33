"""Random faults over random calls of many processes: all right, nothing hangs, leaks or is lost.

For some seconds in the suite; `make soak` goes on for ten minutes, and ``--soak-seconds`` for as long as one
likes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer

from .proxy import Fault, Proxy
from .soak_worker import KEYS, right

WORKER = Path(__file__).with_name("soak_worker.py")
WORKERS = 4
#: Beyond its time, a worker may wait for what is under way, and look whether all was given back.
MORE_SECONDS = 200


class Faults:
    """A few requests in a hundred meet one; sometimes all do, for some seconds."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.on = True
        self.outage_ends = 0.0

    def __call__(self, method: str, path: str) -> Fault | None:
        if not self.on:
            return None
        with self.lock:
            chance = self.chance.random()
            if time.monotonic() < self.outage_ends:
                return Fault("status", 503)
            if chance < 0.0005:
                self.outage_ends = time.monotonic() + self.chance.random() * 4
            pick = self.chance.choice
            if chance < 0.01:
                return Fault("drop")
            if chance < 0.02:
                return Fault("refuse")
            if chance < 0.03:
                return Fault("cut")
            if chance < 0.06:
                return Fault("delay", seconds=self.chance.random())
            if chance < 0.08:
                return Fault("status", pick([500, 503, 403, 409, 412]))
            if chance < 0.09:
                return Fault("status after", pick([500, 503, 412]))
            return None


def start(number: int, seconds: float, folder: Path, environ: dict[str, str]) -> Any:
    # Two share each cache folder, as processes of one machine do.
    arguments = [str(number), str(seconds), str(folder / f"machine-{number // 2}" / "cache")]
    hours = {"CLOCK_HOURS": "-7"} if number == 0 else {}
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environ, **hours},
        text=True,
    )


def strike(server: LocalServer, started: list[Any], seconds: float, again: Any) -> int:
    """Kill the server and workers now and then, until the time is over."""
    ends, chance, killed = time.monotonic() + seconds, random.Random(3), 0
    while True:
        time.sleep(min(seconds / 5, 6 + chance.random() * 10))
        if time.monotonic() > ends - 5:
            return killed
        running = server.running()
        assert running is not None
        if chance.random() < 0.4:
            os.kill(running.pid, signal.SIGKILL)
            time.sleep(1)
            server.start()
        else:
            victim = chance.randrange(1, len(started))
            started[victim].kill()
            started[victim].communicate()
            killed += 1
            started[victim] = again(victim, ends - time.monotonic())


@pytest.mark.timeout(0)  # its parts have limits of their own
def test_every_value_is_right_and_nothing_is_left_behind(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seconds = float(request.config.getoption("--soak-seconds"))
    server = LocalServer(tmp_path / "server")
    server.start()
    faults = Faults(seed=1)
    try:
        server.create_bucket("soak", object_lock=False)
        with Proxy(server.connection("soak").endpoint) as proxy:
            environ = {**os.environ, **server.environment("soak"), "S3_ENDPOINT_URL": proxy.url}
            started = [start(n, seconds, tmp_path, environ) for n in range(WORKERS)]
            proxy.choose = faults

            def again(number: int, left: float) -> Any:
                return start(number, left, tmp_path, environ)

            try:
                killed = strike(server, started, seconds, again)
                reports = []
                for worker in started:
                    out, err = worker.communicate(timeout=MORE_SECONDS)
                    assert worker.returncode == 0, err
                    assert "Traceback" not in err, err
                    assert "cannot compare and swap" not in err, err
                    reports.append(json.loads(out))
            finally:
                for worker in started:
                    worker.kill()
                    worker.communicate()
            faults.on = False
            look_at(reports)
            check_the_bucket(environ, reports)
            print(dict(proxy.seen), f"{killed} killed", sum(r["calls"] for r in reports), "calls")
    finally:
        server.stop()


def look_at(reports: list[dict[str, Any]]) -> None:
    assert sum(report["calls"] for report in reports) > 200, reports
    # On a busy machine one that was killed may have begun again shortly before the end.
    assert sum(report["calls"] > 0 for report in reports) >= len(reports) - 1, reports
    for report in reports:
        assert report["wrong"] == [], report
        assert report["held"] == [], "\n".join([str(report["held"]), *report["stacks"]])
        assert report["flying"] == 0, report
        assert report["threads"] < 60, report
        before, after = report["descriptors"]
        # Connections to the server and the cache's files are kept: a few for each thread.
        assert after - before < 100, report


def check_the_bucket(environ: dict[str, str], reports: list[dict[str, Any]]) -> None:
    settings = {name: environ[name] for name in ("S3_ENDPOINT_URL", "S3_BUCKET")}
    kv = s3kv.S3KV(
        settings["S3_ENDPOINT_URL"],
        settings["S3_BUCKET"],
        environ["AWS_ACCESS_KEY_ID"],
        environ["AWS_SECRET_ACCESS_KEY"],
        keyring=Path(environ["S3KV_KEYRING_FILE"]),
        local_cache="off",
        lease_seconds=2,
    )

    @kv.cached(name="kept", version=1, single_flight="cluster", tags={"soak": "yes"})
    def kept(x: int) -> dict[str, Any]:
        return right(x)

    began = time.monotonic()
    for x in range(KEYS):
        assert kept(x) == right(x)
    assert time.monotonic() - began < 60
    with s3kv.mode("require_hit"):
        for x in range(KEYS):
            assert kept(x) == right(x)
    found = set(kv.find_keys_by_tag_value("soak", "yes"))
    assert {kept.key(x) for x in range(KEYS)} <= found
    everything = kv.get("all", {})
    for report in reports:
        number = report["number"]
        if report["written"]:  # what was acknowledged is there, or something we tried after it
            assert report["written"] <= kv.get(f"worker-{number}")["n"] <= report["tried"]
        for n in report["merged"]:
            assert everything[f"worker-{number}-{n}"] == n
    kv.close()
