"""Whatever a network or a server does to one request, every value is right, and in bounded time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.connection import Connection

from .proxy import Choice, Fault, Proxy

_roots = itertools.count(1)

#: However bad it is, a call takes no longer than this beyond the function itself.
BOUND_SECONDS = 20


def for_each_fault(*methods: str) -> Callable[[Any], Any]:
    """Run a test for each fault of the first request by each method, or of every request."""
    cases = {
        f"{name}, {method}": (method, fault) for name, fault in FAULTS.items() for method in methods
    }
    return pytest.mark.parametrize(("methods", "fault"), cases.values(), ids=cases.keys())


FAULTS = {
    "the answer is lost": Fault("drop"),
    "the request is lost": Fault("refuse"),
    "slow": Fault("delay", seconds=0.2),
    "cut short": Fault("cut"),
    "500": Fault("status", 500),
    "500 after it acted": Fault("status after", 500),
    "503 SlowDown": Fault("status", 503),
    "403": Fault("status", 403),
    "409": Fault("status", 409),
    "412": Fault("status", 412),
    "412 after it acted": Fault("status after", 412),
}


@pytest.fixture
def proxy(request: pytest.FixtureRequest, connect: Callable[[str], Connection]) -> Iterator[Proxy]:
    connection = connect(request.param)
    with Proxy(connection.endpoint) as proxy:
        proxy.connection = connection  # type: ignore[attr-defined]
        yield proxy


def store(proxy: Proxy, **settings: object) -> s3kv.S3KV:
    connection: Connection = proxy.connection  # type: ignore[attr-defined]
    return s3kv.S3KV(
        proxy.url,
        connection.bucket,
        connection.access_key_id,
        connection.secret_access_key,
        root=f"faults-{next(_roots)}",
        keyring=s3kv.Keyring.generate(),
        lease_seconds=2,
        **settings,  # type: ignore[arg-type]
    )


def once(methods: str, fault: Fault) -> Choice:
    """Give a choice that strikes the first request of the methods only."""
    left, lock = [fault], threading.Lock()

    def choose(method: str, path: str) -> Fault | None:
        with lock:
            return left.pop() if left and method in methods.split() else None

    return choose


@for_each_fault("GET", "PUT", "HEAD", "DELETE POST", "every")
@pytest.mark.parametrize("proxy", ["seaweed"], indirect=True)
def test_a_cached_call_gives_the_right_value_and_the_next_one_too(
    proxy: Proxy, methods: str, fault: Fault
) -> None:
    kv = store(proxy, local_cache="off")
    assert kv.capabilities.create_only
    computed: list[int] = []

    @kv.cached(version=1, single_flight="cluster", tags={"team": "ml"})
    def function(x: int) -> dict[str, object]:
        computed.append(x)
        return {"x": x, "text": "abc" * 1000}

    right = {"x": 1, "text": "abc" * 1000}
    proxy.choose = (lambda method, path: fault) if methods == "every" else once(methods, fault)
    for _ in range(2):
        began = time.monotonic()
        assert function(1) == right
        assert time.monotonic() - began < BOUND_SECONDS
    proxy.choose = lambda method, path: None
    kv._backend.breaker.succeeded()  # it would be left alone for some seconds more
    assert function(1) == right
    before = len(computed)
    assert function(1) == right
    assert len(computed) == before, "what was stored is found"
    assert kv.find_keys_by_tag_value("team", "ml") == [function.key(1)]
    kv.close()


@for_each_fault("GET", "PUT", "HEAD", "DELETE POST")
@pytest.mark.parametrize("proxy", ["seaweed-lock"], indirect=True)
def test_a_key_is_written_whole_or_an_error_says_so(
    proxy: Proxy, methods: str, fault: Fault
) -> None:
    kv = store(proxy)
    kv.add("counter", {"n": 0}, tags={"a": "1"})
    said: list[int] = []
    for n, operation in enumerate(
        [
            lambda: kv.add("counter", {"n": 1}, tags={"a": "2"}),
            lambda: kv.merge_keys(["other"], "counter"),
            lambda: kv.copy_key("counter", "copy"),
            lambda: kv.tag_key("counter", {"b": "3"}),
            lambda: kv.delete("other"),
        ]
    ):
        proxy.choose = lambda method, path: None
        kv.add("other", {"m": n})
        proxy.choose = once(methods, fault)
        try:
            operation()
        except s3kv.S3KVError:
            said.append(n)
    proxy.choose = lambda method, path: None
    found = kv.get("counter")
    assert found["n"] == (1 if 0 not in said else found["n"])
    assert found.get("m", 1) == 1
    if 1 not in said:
        assert found["m"] == 1
    if 2 not in said:
        assert kv.get("copy") == found
    if 4 not in said:
        assert not kv.exists("other")
    tags = kv.get_tags("counter")
    for name, value in tags.items():
        assert "counter" in kv.find_keys_by_tag_value(name, value)
    kv.close()
