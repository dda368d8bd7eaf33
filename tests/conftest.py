"""Servers and surroundings. Whatever a test needs and cannot have fails it: nothing is skipped."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import s3kv_flow
from s3kv_flow import _runtime
from s3kv_flow._iam import ROLES
from s3kv_flow._server import LocalServer
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects

_numbers = itertools.count(1)

# How long an example takes says more about what else the machine does.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine reaches a test, and none of a test reaches another."""
    for name in os.environ:
        if name.startswith(("AWS_", "S3_", "S3KV_")):
            monkeypatch.delenv(name)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    _runtime._default.store = None
    yield
    if _runtime._default.store is not None:
        _runtime._default.store.close()
    _runtime._default.store = None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("s3")
    group.addoption("--s3-endpoint", help="test against this server in the place of SeaweedFS")
    group.addoption("--s3-access-key")
    group.addoption("--s3-secret-key")
    group.addoption(
        "--soak-seconds", default=20, help="how long the soak under random faults goes on"
    )


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A real S3 server, with an administrator and somebody who may only read."""
    server = LocalServer(tmp_path_factory.mktemp("seaweed"))
    server.add_identity("reader", "READER", "reader-secret", ["Read", "List"])
    for role in ROLES:  # they may do what a bucket's policy lets them, and nothing else
        server.add_identity(f"policy-{role}", f"KEY-{role}", f"secret-{role}", [])
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The URL of moto: for the shapes of calls, not for promises about races."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="session")
def connections() -> dict[str, Connection]:
    """The buckets made so far: a server keeps volumes for each, so tests share them."""
    return {}


@pytest.fixture
def connect(
    request: pytest.FixtureRequest, connections: dict[str, Connection]
) -> Callable[[str], Connection]:
    """Give the bucket of one kind: ``seaweed``, ``seaweed-lock`` or ``moto``."""

    def give(kind: str) -> Connection:
        if kind not in connections:
            connections[kind] = new_bucket(request, kind)
        return connections[kind]

    return give


def new_bucket(request: pytest.FixtureRequest, kind: str) -> Connection:
    """Make a bucket that nobody else uses."""
    bucket = f"{kind}-{next(_numbers)}"
    options = request.config.option
    if options.s3_endpoint:
        connection = Connection(
            f"{bucket}-{os.getpid()}",
            options.s3_endpoint,
            "us-east-1",
            options.s3_access_key,
            options.s3_secret_key,
        )
    elif kind == "moto":
        url = request.getfixturevalue("moto")
        connection = Connection(bucket, url, "us-east-1", "key", "secret")
    else:
        connection = request.getfixturevalue("seaweed").connection(bucket)
    Boto3Objects(connection).create_bucket(object_lock=kind == "seaweed-lock")
    return connection


@pytest.fixture(params=["seaweed", "seaweed-lock"])
def bucket(
    request: pytest.FixtureRequest,
    connect: Callable[[str], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> Connection:
    """The real server, without and with Object Lock, named by the environment; a root of its own."""
    connection = connect(request.param)
    monkeypatch.setenv("S3KV_ROOT", f"root-{next(_numbers)}")
    for name, value in environment_of(connection).items():
        monkeypatch.setenv(name, value)
    return connection


def environment_of(connection: Connection) -> dict[str, str]:
    """Give the environment that names a bucket."""
    return {
        "S3_ENDPOINT_URL": connection.endpoint,
        "S3_BUCKET": connection.bucket,
        "AWS_ACCESS_KEY_ID": connection.access_key_id or "",
        "AWS_SECRET_ACCESS_KEY": connection.secret_access_key or "",
    }


@pytest.fixture
def kv(bucket: Connection) -> Iterator[s3kv_flow.S3KV]:
    """A store on the real server."""
    with s3kv_flow.S3KV() as store:
        yield store
