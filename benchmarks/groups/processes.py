"""Four processes on one local cache, a tenth of what they do is writing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import FOLDER, Row

PROCESSES = 4
EACH = 5000

WORKER = """
import random, sys
import diskcache
import s3kv_flow as s3kv

which, folder, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
value = {"x": 0, "text": "x" * 1000}
if which == "diskcache":
    raw = diskcache.Cache(folder, eviction_policy="least-recently-stored")
    def read(x):
        return raw.get(x) is not None
    def write(x):
        raw.set(x, value)
else:
    kv = s3kv.default_store()
    tier = kv._backend.chain.local[-1]
    step = kv.cached(name="step", version=1)(lambda x: value)
    step(0)
    blob = tier.get(kv._backend.layout.object(step.key(0)))
    def read(x):
        return tier.get(f"step/{x}") is not None
    def write(x):
        tier.put(f"step/{x}", blob)
for x in range(200):
    write(x)
print("ready", flush=True)
sys.stdin.readline()
wrong = 0
for _ in range(count):
    x = chance.randrange(200)
    if chance.random() < 0.1:
        write(x)
    elif not read(x):
        wrong += 1
print(wrong)
"""


def crowd(which: str, number: int) -> float:
    """Give the seconds until all are done."""
    folder = str(Path(FOLDER, f"{which}-{number}"))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, which, folder, str(seed), str(EACH)],
            env={**os.environ, "S3KV_CACHE_DIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(PROCESSES)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    began = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    answers = [worker.communicate()[0] for worker in workers]
    seconds = time.perf_counter() - began
    assert answers == ["0\n"] * PROCESSES, answers  # nothing failed, nothing was lost
    return seconds


def rows() -> list[Row]:
    seconds: dict[str, list[float]] = {"diskcache": [], "our tier": []}
    for number in range(5):
        for which, each in seconds.items():
            each.append(crowd(which, number))
    theirs, ours = (statistics.median(each) for each in seconds.values())
    work = f"{PROCESSES} processes, {EACH} calls each, 10 % writes"
    return [Row(work, "raw diskcache", theirs, ours, 1.11)]
