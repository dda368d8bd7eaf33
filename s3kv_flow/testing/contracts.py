"""What every object store promises, as tests: subclass, and give the store.

.. code-block:: python

    class TestMyStore(ObjectStoreContract):
        @pytest.fixture
        def store(self):
            return MyStore()
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from s3kv_flow._layout import Layout
from s3kv_flow._model import ABSENT, NOT_MODIFIED, ETag, Lock, Mode, Protection, StoredObject
from s3kv_flow.errors import AccessDeniedError
from s3kv_flow.stores.cas import WRITE_ID, cas_put
from s3kv_flow.stores.probe import Capabilities, probe
from s3kv_flow.stores.protocols import Bucket, ObjectStore, PreconditionFailedError

ODD_NAMES = [
    "a b",
    "ключ/鍵",
    "a+b",
    "a&b=c?d",
    "a%2Fb",
    "100%",
    "tilde~",
    "quote'\"",
    "é",
    "x" * 200,
]


class ObjectStoreContract:
    """The promises of `s3kv_flow.stores.protocols.ObjectStore`."""

    @pytest.fixture
    def name(self) -> str:
        """Give a name that no other test uses."""
        return f"contract/{uuid.uuid4().hex}/object"

    def test_reads_back_the_bytes_it_was_given(self, store: ObjectStore, name: str) -> None:
        """Body, size and ETag are one version's."""
        etag = store.put(name, [b"one ", memoryview(b"two"), b""])
        found = store.get(name)
        assert isinstance(found, StoredObject)
        assert bytes(found.body) == b"one two"
        assert (found.meta.etag, found.meta.size_bytes) == (etag, 7)
        assert '"' not in etag

    def test_empty_bodies_are_bodies(self, store: ObjectStore, name: str) -> None:
        """Zero bytes are not absence."""
        store.put(name, [b""])
        found = store.get(name)
        assert isinstance(found, StoredObject)
        assert bytes(found.body) == b""

    def test_the_start_of_an_object_is_read_alone(self, store: ObjectStore, name: str) -> None:
        """All of it where it is shorter; the size is that of the whole."""
        for body, start in ((b"x" * 1000, b"x" * 100), (b"short", b"short"), (b"", b"")):
            store.put(name, [body])
            found = store.get_start(name, 100)
            assert found is not None
            assert (bytes(found.body), found.meta.size_bytes) == (start, len(body))
        assert store.get_start(f"{name}-absent", 100) is None

    def test_large_objects_come_back_whole(self, store: ObjectStore, name: str) -> None:
        """Also such as are read in pieces."""
        piece = bytes(range(256)) * 4096
        body = [piece] * 40 + [b"the end"]
        store.put(name, body)
        found = store.get(name)
        assert isinstance(found, StoredObject)
        assert found.body == b"".join(body)

    def test_very_large_writes_keep_condition_and_metadata(
        self, store: ObjectStore, name: str
    ) -> None:
        """Also such as are written in parts."""
        body = [bytes(range(256)) * 4096] * 66
        etag = store.put(name, body, expect=ABSENT, metadata={WRITE_ID: "abc"})
        with pytest.raises(PreconditionFailedError):
            store.put(name, body, expect=ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(name, body, expect=ETag("0" * 32))
        store.put(name, [*body, b"more"], expect=etag, metadata={WRITE_ID: "def"})
        found = store.head(name)
        assert found is not None
        assert (found.metadata[WRITE_ID], found.size_bytes) == ("def", 66 * 2**20 + 4)

    def test_absent_is_none(self, store: ObjectStore, name: str) -> None:
        """Not an exception, and not an empty body."""
        assert store.get(name) is None
        assert store.get(name, unless=ETag("0" * 32)) is None
        assert store.head(name) is None

    def test_conditional_read_tells_not_modified(self, store: ObjectStore, name: str) -> None:
        """A 304 for the current ETag, the object for any other."""
        etag = store.put(name, [b"one"])
        assert store.get(name, unless=etag) is NOT_MODIFIED
        assert isinstance(store.get(name, unless=ETag("0" * 32)), StoredObject)

    def test_head_tells_time_and_metadata(self, store: ObjectStore, name: str) -> None:
        """Metadata is what tells our write from another's."""
        etag = store.put(name, [b"one"], metadata={WRITE_ID: "abc"})
        found = store.head(name)
        assert found is not None
        assert (found.etag, found.metadata[WRITE_ID], found.size_bytes) == (etag, "abc", 3)
        assert abs(datetime.now(timezone.utc) - found.modified) < timedelta(minutes=5)

    def test_create_only_never_replaces(self, store: ObjectStore, name: str) -> None:
        """`ABSENT` is kept."""
        store.put(name, [b"one"], expect=ABSENT)
        with pytest.raises(PreconditionFailedError):
            store.put(name, [b"two"], expect=ABSENT)
        found = store.get(name)
        assert isinstance(found, StoredObject)
        assert bytes(found.body) == b"one"

    def test_swap_needs_the_current_version(self, store: ObjectStore, name: str) -> None:
        """An ETag is kept, of something absent too."""
        with pytest.raises(PreconditionFailedError):
            store.put(name, [b"zero"], expect=ETag("0" * 32))
        first = store.put(name, [b"one"])
        second = store.put(name, [b"two"], expect=first)
        with pytest.raises(PreconditionFailedError):
            store.put(name, [b"three"], expect=first)
        found = store.head(name)
        assert found is not None
        assert found.etag == second

    def test_one_of_many_creators_wins(self, store: ObjectStore, name: str) -> None:
        """All others learn that they lost."""
        won = []
        start = threading.Barrier(8)

        def create(number: int) -> None:
            start.wait()
            if cas_put(store, name, [b"%d" % number], expect=ABSENT) is not None:
                won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = store.get(name)
        assert isinstance(found, StoredObject)
        assert [b"%d" % number for number in won] == [bytes(found.body)]

    def test_delete_is_silent_about_the_absent(self, store: ObjectStore, name: str) -> None:
        """One or many, there or not."""
        names = [f"{name}-{number}" for number in range(3)]
        for one in names[:2]:
            store.put(one, [b"one"])
        assert store.delete(names) == 3
        assert store.delete([name]) == 1
        assert [store.head(one) for one in names] == [None, None, None]

    def test_lists_all_names_of_a_prefix(self, store: ObjectStore, name: str) -> None:
        """Also a prefix that ends within a path segment; never a neighbour."""
        folder = name.rpartition("/")[0]
        for part in ("test_a", "test_b", "test/deep", "tess"):
            store.put(f"{folder}/{part}", [b"one"])
        assert {found.name.rpartition(folder)[2] for found in store.list(f"{folder}/test")} == {
            "/test_a",
            "/test_b",
            "/test/deep",
        }
        assert len(list(store.list(f"{folder}/"))) == 4
        assert list(store.list(f"{folder}/none/")) == []

    @pytest.mark.parametrize("odd", ODD_NAMES)
    def test_names_come_back_as_given(self, store: ObjectStore, name: str, odd: str) -> None:
        """In get, head and list."""
        folder = name.rpartition("/")[0]
        store.put(f"{folder}/{odd}", [b"odd"])
        found = store.get(f"{folder}/{odd}")
        assert isinstance(found, StoredObject)
        assert bytes(found.body) == b"odd"
        assert [found.name for found in store.list(f"{folder}/")] == [f"{folder}/{odd}"]
        store.delete([f"{folder}/{odd}"])
        assert store.head(f"{folder}/{odd}") is None

    def test_many_objects_are_all_listed_and_deleted(self, store: ObjectStore, name: str) -> None:
        """Past S3's page of 1,000."""
        names = [f"{name}/{number:04}" for number in range(1005)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda one: store.put(one, [b"x"]), names))
        assert sorted(found.name for found in store.list(f"{name}/")) == names
        assert store.delete(names) == len(names)
        assert list(store.list(f"{name}/")) == []


class BucketContract(ObjectStoreContract):
    """The promises of `s3kv_flow.stores.protocols.Bucket`, but those of locks."""

    def test_deletes_only_what_is_expected(self, store: Bucket, name: str) -> None:
        """Another version stays."""
        first = store.put(name, [b"one"])
        second = store.put(name, [b"two"])
        with pytest.raises(PreconditionFailedError):
            store.delete_if(name, first)
        assert store.head(name) is not None
        store.delete_if(name, second)
        assert store.head(name) is None

    def test_deletes_each_that_is_expected(self, store: Bucket, name: str) -> None:
        """In one request: others stay, and are named."""
        names = [f"{name}-{number}" for number in range(3)]
        etags = [store.put(one, [b"one"]) for one in names]
        store.put(names[1], [b"two"])
        assert set(store.delete_each_if(list(zip(names, etags)))) == {names[1]}
        assert [store.head(one) is not None for one in names] == [False, True, False]
        assert not store.delete_each_if([(names[0], etags[0])])

    def test_tags_come_back_as_given(self, store: Bucket, name: str) -> None:
        """With the write, set afterwards, replaced as a whole."""
        odd = {"a b": "x + y", "ключ": "é/=:@._-", "empty": ""}
        store.put(name, [b"one"], tags=odd)
        found = store.tags(name)
        assert found is not None
        assert found.tags == odd
        assert store.tag(name, {"only": "this one"})
        found = store.tags(name)
        assert found is not None
        assert found.tags == {"only": "this one"}
        store.put(name, [b"two"])
        found = store.tags(name)
        assert found is not None
        assert found.tags == {}

    def test_absent_objects_have_no_tags(self, store: Bucket, name: str) -> None:
        """And cannot be given any."""
        assert store.tags(name) is None
        assert not store.tag(name, {"a": "b"})

    def test_tells_the_time(self, store: Bucket) -> None:
        """Of the server, which is this machine's here."""
        store.put("contract/time", [b""])
        assert abs(datetime.now(timezone.utc) - store.server_time()) < timedelta(minutes=5)

    def test_probe_tells_that_conditions_are_kept(self, store: Bucket, name: str) -> None:
        """And leaves nothing behind."""
        layout = Layout(name)
        assert probe(store, layout) == Capabilities(
            create_only=True, compare_and_swap=True, conditional_delete=True
        )
        assert list(store.list(f"{name}/")) == []


class LockingContract:
    """The promises of buckets with Object Lock."""

    @pytest.fixture
    def name(self) -> str:
        """Give a name that no other test uses."""
        return f"contract/{uuid.uuid4().hex}/object"

    def test_locks_come_back_as_given(self, store: Bucket, name: str) -> None:
        """Retention and hold, written with the object or set afterwards."""
        store.put(name, [b"one"])
        found = _protection(store, name)
        assert (found.lock, store.object_lock(), store.may_read_locks(name)) == (Lock(), True, True)
        lock = Lock("GOVERNANCE", _soon(found, 60), legal_hold=True)
        store.put(name, [b"two"], lock=lock, tags={"a b": "c d"}, metadata={"x": "y"})
        found = _protection(store, name)
        assert (found.lock, found.holding, found.meta.metadata["x"]) == (lock, lock, "y")
        tagged = store.tags(name)
        assert tagged is not None
        assert tagged.tags == {"a b": "c d"}
        store.hold(name, False, version=found.meta.version)
        longer = Lock("GOVERNANCE", _soon(found, 120))
        store.retain(name, longer, version=found.meta.version)
        assert _protection(store, name).lock == longer

    def test_retention_ends(self, store: Bucket, name: str) -> None:
        """Shortened by whoever has the right to, and by nobody else."""
        found = self._retained(store, name, "GOVERNANCE")
        shorter = Lock("GOVERNANCE", _soon(found, 2))
        with pytest.raises(AccessDeniedError):
            store.retain(name, shorter, version=found.meta.version)
        store.retain(name, shorter, version=found.meta.version, bypass=True)
        assert _protection(store, name).lock == shorter

    def test_compliance_cannot_be_shortened(self, store: Bucket, name: str) -> None:
        """Not even by an administrator."""
        found = self._retained(store, name, "COMPLIANCE")
        for lock in (Lock("COMPLIANCE", _soon(found, 2)), Lock("GOVERNANCE", _soon(found, 99))):
            with pytest.raises(AccessDeniedError):
                store.retain(name, lock, version=found.meta.version, bypass=True)

    def _retained(self, store: Bucket, name: str, mode: Mode) -> Protection:
        store.put(name, [b"zero"])
        lock = Lock(mode, _soon(_protection(store, name), 60))
        store.put(name, [b"one"], lock=lock)
        return _protection(store, name)

    def test_versions_are_listed_newest_first(self, store: Bucket, name: str) -> None:
        """Delete markers included."""
        store.put(name, [b"one"], lock=Lock(legal_hold=True))
        store.put(name, [b"two"])
        store.delete([name])
        versions = list(store.versions(name))
        assert [(one.is_latest, one.is_delete_marker) for one in versions] == [
            (True, True),
            (False, False),
            (False, False),
        ]
        assert store.protection(name) is None
        bodies = [store.get_version(name, one.version) for one in versions[1:]]
        assert [bytes(one.body) for one in bodies if one is not None] == [b"two", b"one"]
        old = store.protection(name, version=versions[2].version)
        assert old is not None
        assert old.lock == Lock(legal_hold=True)
        store.hold(name, False, version=versions[2].version)


def _protection(store: Bucket, name: str) -> Protection:
    found = store.protection(name)
    assert found is not None
    return found


def _soon(found: Protection, seconds: int) -> datetime:
    return found.now.replace(microsecond=0) + timedelta(seconds=seconds)
