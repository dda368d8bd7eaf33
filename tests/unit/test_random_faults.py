"""Random faults under many threads: every value is right, nothing hangs, nothing is left behind."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

import s3kv_flow as s3kv
from s3kv_flow._lease import heart
from s3kv_flow._model import StoredObject
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.protocols import PreconditionFailedError
from s3kv_flow.testing import memory_store
from s3kv_flow.testing.stores import WrappedStore

R = TypeVar("R")
SECONDS = 4


class RandomFaults(WrappedStore):
    """Fails before a request or after the server has acted on it, is slow, and garbles bodies."""

    def __init__(self, seed: int) -> None:
        super().__init__(MemoryStore())
        self.chance = random.Random(seed)
        self.on = True

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        fault = self.chance.random() if self.on else 1.0
        if fault < 0.02:
            raise s3kv.StoreUnavailableError("503 SlowDown", key=name)
        if fault < 0.03:
            raise s3kv.AccessDeniedError("403", key=name)
        if fault < 0.04 and verb == "put":
            raise PreconditionFailedError("412 for no reason", key=name)
        if fault < 0.08:
            time.sleep(self.chance.random() / 50)
        answer = send()
        if 0.08 < fault < 0.12:
            raise s3kv.StoreUnavailableError("the answer was lost", key=name)
        if 0.12 < fault < 0.15 and isinstance(answer, StoredObject):
            body = bytearray(answer.body)
            if fault < 0.135 and body:
                body[self.chance.randrange(len(body))] ^= 4
            else:
                del body[len(body) // 2 :]
            return replace(answer, body=memoryview(body))  # type: ignore[return-value]
        return answer


@pytest.mark.parametrize("single_flight", ["auto", "cluster", False])
def test_every_value_is_right_whatever_happens(single_flight: str | bool) -> None:
    before = set(threading.enumerate())
    faults = RandomFaults(seed=1)
    kv = memory_store(faults, keyring=s3kv.Keyring.generate(), lease_seconds=1)

    class OwnError(Exception):
        pass

    @kv.cached(
        version=1,
        single_flight=single_flight,
        max_age=timedelta(milliseconds=200),
        stale_while_revalidate=timedelta(milliseconds=200),
        revalidate_after=timedelta(milliseconds=50),
        tags={"x": "{x}"},
    )
    def function(x):
        if x == 7 and chance.random() < 0.5:
            raise OwnError
        return {"x": x, "squares": (x * x, [x] * 50)}

    chance, wrong, counts = random.Random(2), [], [0] * 8
    deadline = time.monotonic() + SECONDS

    def work(worker: int) -> None:
        mine = random.Random(worker)
        while time.monotonic() < deadline:
            x = mine.randrange(20)
            try:
                value = function(x)
            except OwnError:
                if x != 7:
                    wrong.append((x, "raised"))
                continue
            except Exception as error:
                wrong.append((x, error))
                continue
            if value != {"x": x, "squares": (x * x, [x] * 50)}:
                wrong.append((x, value))
            value["x"] = None  # it is ours alone
            counts[worker] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 20)
        assert not thread.is_alive()
    assert wrong == []
    assert min(counts) > 20
    faults.on = False
    deadline = time.monotonic() + 20
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"s3kv-lease"}
    assert not heart._held
    assert not kv._backend.flight._flying
    time.sleep(0.5)
    assert function(1)["x"] == 1
