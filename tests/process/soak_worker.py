"""One of many workers under random faults: it checks every value, and tells what it left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

if os.environ.get("CLOCK_HOURS"):  # this machine's clock is wrong by so much
    _time = time.time
    time.time = lambda: _time() + 3600 * float(os.environ["CLOCK_HOURS"])

import s3kv_flow as s3kv
from s3kv_flow._lease import Lease, heart

KEYS = 12
THREADS = 3


def right(x: int) -> dict[str, Any]:
    return {"x": x, "squares": (x * x, [x] * 500)}


def describe(lease: Lease) -> str:
    return f"{type(lease).__name__} {vars(lease)}"


def stacks() -> list[str]:
    """Say what every thread does: it tells who holds what should have been given back."""
    return ["".join(traceback.format_stack(frame)[-8:]) for frame in sys._current_frames().values()]


class OwnError(Exception):
    """What the user's function raises."""


class Worker:
    def __init__(self, number: int, seconds: float, cache_dir: str) -> None:
        self.number = number
        self.until = time.monotonic() + seconds
        self.kv = kv = s3kv.S3KV(cache_dir=cache_dir, lease_seconds=2)
        self.cache_dir = Path(cache_dir)
        self.wrong: list[str] = []
        self.calls = 0
        self.written = 0
        self.tried = 0
        self.merged: list[int] = []

        @kv.cached(name="kept", version=1, single_flight="cluster", tags={"soak": "yes"})
        def kept(x: int) -> dict[str, Any]:
            time.sleep(random.random() / 20)
            return right(x)

        @kv.cached(
            name="short",
            version=1,
            max_age=timedelta(seconds=1),
            stale_while_revalidate=timedelta(seconds=1),
            revalidate_after=timedelta(milliseconds=200),
        )
        def short(x: int) -> dict[str, Any]:
            chance = random.random()
            if chance < 0.1:
                raise OwnError
            return right(x)

        @kv.cached(name="waiting", version=1, single_flight="cluster")
        async def waiting(x: int) -> dict[str, Any]:
            await asyncio.sleep(random.random() / 20)
            return right(x)

        self.kept, self.short, self.waiting = kept, short, waiting

    def check(self, what: str, value: Any, x: int) -> None:
        self.calls += 1
        if value != right(x):
            self.wrong.append(f"{what}({x}) gave {value!r}")

    def one(self, chance: random.Random) -> None:
        x = chance.randrange(KEYS)
        what = chance.random()
        if what < 0.45:
            self.check("kept", self.kept(x), x)
        elif what < 0.8:
            try:
                self.check("short", self.short(x), x)
            except OwnError:
                self.calls += 1
        elif what < 0.9:
            asyncio.run(self.cancelled(x, chance.random() / 20))
        elif what < 0.91:
            self.kept.invalidate(x)
        else:
            for n, value in zip((x, x + 1), self.kept.map([x, x + 1]), strict=True):
                self.check("map", value, n)

    async def cancelled(self, x: int, seconds: float) -> None:
        try:
            self.check("waiting", await asyncio.wait_for(self.waiting(x), seconds), x)
        except asyncio.TimeoutError:
            self.calls += 1

    def work(self, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < self.until:
            began = time.monotonic()
            try:
                self.one(chance)
            except s3kv.S3KVError:
                pass  # of `invalidate`, which has to say so
            except BaseException as error:
                self.wrong.append(f"raised {error!r}")
            if time.monotonic() - began > 45:
                self.wrong.append(f"took {time.monotonic() - began:.0f} s")

    def write(self) -> None:
        """Write a counter of our own, and merge into a document of all."""
        mine = f"worker-{self.number}"
        while time.monotonic() < self.until:
            self.tried += 1
            try:
                self.kv.add(mine, {"n": self.tried}, tags={"worker": str(self.number)})
                self.written = self.tried
                self.kv.add(f"{mine}-part", {f"{mine}-{self.tried}": self.tried})
                self.kv.merge_keys([f"{mine}-part"], "all")
                self.merged.append(self.tried)
            except s3kv.S3KVError:
                pass
            time.sleep(0.2)

    def tidy(self) -> None:
        """Remove the local cache while it is used, now and then."""
        import shutil

        while time.monotonic() < self.until:
            time.sleep(random.random() * 8)
            shutil.rmtree(self.cache_dir, ignore_errors=True)

    def run(self) -> dict[str, Any]:
        for _ in range(3):  # what is opened once and kept
            try:
                self.kept(0)
                self.kv.add("warm", 1)
            except s3kv.S3KVError:
                pass
        before = len(os.listdir("/proc/self/fd"))
        threads = [
            threading.Thread(target=self.work, args=(self.number * 100 + n,))
            for n in range(THREADS)
        ]
        threads.append(threading.Thread(target=self.write))
        if self.number % 2:
            threads.append(threading.Thread(target=self.tidy))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deadline = time.monotonic() + 100  # a request may wait for 30 s, and be repeated
        flying = self.kv._backend.flight._flying
        while (flying or heart._held) and time.monotonic() < deadline:
            time.sleep(0.1)
        gc.collect()
        names = [thread.name for thread in threading.enumerate()]
        return {
            "number": self.number,
            "wrong": self.wrong[:10],
            "calls": self.calls,
            "written": self.written,
            "tried": self.tried,
            "merged": self.merged,
            "held": [describe(lease) for lease in heart._held.values()],
            "stacks": stacks() if heart._held else [],
            "flying": len(flying),
            "threads": len(names),
            "names": names,
            "descriptors": [before, len(os.listdir("/proc/self/fd"))],
        }


if __name__ == "__main__":
    print(json.dumps(Worker(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]).run()))
