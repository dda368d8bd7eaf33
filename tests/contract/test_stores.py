"""Every store keeps the contract: in memory, by obstore, by boto3, and the two together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from s3kv_flow._model import ETag
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.objects import ObstoreObjects
from s3kv_flow.stores.protocols import Bucket, ObjectStore
from s3kv_flow.stores.s3 import S3Store
from s3kv_flow.testing.contracts import BucketContract, LockingContract, ObjectStoreContract


@pytest.fixture(params=[False, True], ids=["unversioned", "object lock"])
def memory(request: pytest.FixtureRequest) -> MemoryStore:
    return MemoryStore(object_lock=request.param)


class TestMemoryStore(BucketContract):
    @pytest.fixture
    def store(self, memory: MemoryStore) -> MemoryStore:
        return memory


class TestMemoryStoreLocks(LockingContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(object_lock=True)


class TestS3Locks(LockingContract):
    @pytest.fixture(params=[S3Store, Boto3Objects])
    def store(
        self, request: pytest.FixtureRequest, connect: Callable[[str], Connection]
    ) -> Iterator[Bucket]:
        store = request.param(connect("seaweed-lock"))
        yield store
        store.close()


class _OnServers:
    kind: Callable[[Connection], ObjectStore]
    server: str

    @pytest.fixture(params=["seaweed", "seaweed-lock", "moto"])
    def store(
        self, request: pytest.FixtureRequest, connect: Callable[[str], Connection]
    ) -> Iterator[ObjectStore]:
        self.server = request.param
        store = type(self).kind(connect(request.param))
        yield store
        store.close()


class _Buckets(_OnServers, BucketContract):
    def test_deletes_each_that_is_expected(self, store: Bucket, name: str) -> None:
        if self.server != "moto":
            super().test_deletes_each_that_is_expected(store, name)
        else:  # it ignores conditions in bulk deletes, as older Ceph does
            store.put(name, [b"one"])
            assert not store.delete_each_if([(name, ETag("0" * 32))])
            assert store.head(name) is None


class TestS3Store(_Buckets):
    kind = S3Store


class TestBoto3Objects(_Buckets):
    kind = Boto3Objects


class TestObstoreObjects(_OnServers, ObjectStoreContract):
    kind = ObstoreObjects

    def test_lists_all_names_of_a_prefix(self, store: ObjectStore, name: str) -> None:
        # Whole path segments only, as its docstring says; `S3Store` lists the rest by boto3.
        folder = name.rpartition("/")[0]
        for part in ("test_a", "test/deep"):
            store.put(f"{folder}/{part}", [b"one"])
        assert [found.name for found in store.list(f"{folder}/test/")] == [f"{folder}/test/deep"]
        assert len(list(store.list(f"{folder}/"))) == 2
