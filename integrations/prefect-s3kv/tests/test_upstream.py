"""Prefect's own tests, with our classes in the place of theirs; fetched from the registry."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
from prefect.results import ResultStore
from prefect.testing.standard_test_suites import BlockStandardTestSuite

import s3kv_flow as s3kv
from prefect_s3kv import S3KVLockManager, S3KVPolicy, S3KVStorage


def fetched(requirement: str, file: str, *stubs: tuple[str, str | None]) -> Any:
    """Give a module of tests out of a source distribution."""
    folder = Path(tempfile.mkdtemp(prefix="upstream-"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", ":all:", "-d", str(folder), requirement),
        ],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        (member,) = [one for one in tar.getnames() if one.partition("/")[2] == file]
        source = tar.extractfile(member)
        assert source is not None
        text = source.read()
    for name, attribute in stubs:
        module = types.ModuleType(name)
        if attribute:
            setattr(module, attribute, type(attribute, (), {}))
        sys.modules[name] = module
    path = folder / f"upstream_{Path(file).stem}.py"
    path.write_bytes(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


redis = fetched(
    "prefect-redis==0.3.0",
    "tests/test_locking.py",
    ("prefect_redis", None),
    ("prefect_redis.blocks", "RedisDatabase"),
    ("prefect_redis.locking", "RedisLockManager"),
)
policies = fetched("prefect==3.2.2", "tests/test_cache_policies.py")
transactions = fetched("prefect==3.2.2", "tests/test_transactions.py")
policies.Inputs = S3KVPolicy


@pytest.mark.usefixtures("kv")
class TestLocksAsOfRedis(redis.TestRedisLockManager):  # type: ignore[misc]
    @pytest.fixture
    def lock_manager(self) -> S3KVLockManager:
        return S3KVLockManager()

    @pytest.fixture
    def store(self, lock_manager: S3KVLockManager) -> ResultStore:
        return ResultStore(lock_manager=lock_manager, result_storage=S3KVStorage())

    # These are about a Redis client and its settings.
    test_init = None
    test_configure_from_block = None
    test_pickle_unpickle_and_use_lock_manager = None


@pytest.mark.usefixtures("kv")
class TestPolicyAsInputs(policies.TestInputsPolicy):  # type: ignore[misc]
    pass


@pytest.mark.usefixtures("kv")
class TestNoPolicy(policies.TestNonePolicy):  # type: ignore[misc]
    pass


@pytest.mark.usefixtures("kv")
class TestTransactions(transactions.TestWithResultStore):  # type: ignore[misc]
    @pytest.fixture
    def result_store(self, kv: s3kv.S3KV) -> ResultStore:
        return ResultStore(result_storage=S3KVStorage(), lock_manager=S3KVLockManager())


class TestStorageBlock(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[S3KVStorage]:
        return S3KVStorage

    def test_has_a_valid_image(self, block: type[S3KVStorage]) -> None:
        """Theirs fetches it from the public web."""
        assert str(block._logo_url).endswith("-225x225.png")
