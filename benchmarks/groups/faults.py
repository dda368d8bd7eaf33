"""What an outage costs once the breaker is open, and what a crowd on one cold key does."""

from __future__ import annotations

import itertools
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from measure import FOLDER, Row, compare

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer


def working(milliseconds: float) -> Callable[[int], int]:
    """Give a function that keeps the processor busy for so long."""

    def work(x: int) -> int:
        until = time.perf_counter() + milliseconds / 1e3
        while time.perf_counter() < until:
            pass
        return x

    return work


WORKER = """
import sys, time
import s3kv_flow as s3kv

def slow(x):
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
    return x

level = {"False": False}.get(sys.argv[1], sys.argv[1])
cached = s3kv.cached(slow, name="slow", version=sys.argv[2], single_flight=level)
print("ready", flush=True)
sys.stdin.readline()
cached(1)
"""


def rows() -> list[Row]:
    down = s3kv.S3KV("http://127.0.0.1:9", "bucket", "key", "secret", enable_local_cache=False)
    bare = working(1)
    cached = down.cached(bare, name="outage", version=1)
    logging.getLogger("s3kv_flow").setLevel(logging.CRITICAL)
    for number in range(20):  # the breaker opens
        cached(number)
    server = LocalServer(f"{FOLDER}/crowd")
    server.start()
    try:
        server.create_bucket("bench", object_lock=False)
        numbers = itertools.count()
        environ = {**os.environ, **server.environment("bench")}

        def crowd(level: str) -> Callable[[], None]:
            def run() -> None:
                arguments = [sys.executable, "-c", WORKER, level, str(next(numbers))]
                pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                workers = [subprocess.Popen(arguments, env=environ, **pipes) for _ in range(8)]
                for worker in workers:
                    worker.stdout.readline()
                began = time.perf_counter()
                for worker in workers:
                    worker.stdin.write(b"\n")
                    worker.stdin.flush()
                for worker in workers:
                    worker.communicate()
                seconds[level].append(time.perf_counter() - began)

            return run

        seconds: dict[str, list[float]] = {"False": [], "host": [], "cluster": []}
        for _ in range(3):
            for level in seconds:
                crowd(level)()
        alone = statistics.median(seconds["False"])
        return [
            compare(
                "1 ms of work, S3 down, breaker open",
                "the bare function",
                lambda: bare(1),
                lambda: cached(1),
                1.5,
                times=200,
            ),
            *(
                Row(
                    f"8 processes, one cold key of 0.5 s, {level}",
                    "each computes",
                    alone,
                    statistics.median(seconds[level]),
                    0.5,
                )
                for level in ("host", "cluster")
            ),
        ]
    finally:
        server.stop()
