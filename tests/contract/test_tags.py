"""Tags: found at a cost that grows with the matches, whoever wrote them and however many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.testing import CountingStore, ManualClock, memory_store


@pytest.fixture
def kv(bucket: Connection):
    with s3kv.S3KV(keyring=s3kv.Keyring.generate()) as store:
        yield store


def test_tags_are_added_replaced_and_dropped_with_the_value(kv):
    kv.add("key", 1, tags={"team": "ml", "top": 3})
    kv.tag_key("key", {"stage": "test", "top": 4})
    assert kv.get_tags("key") == {"stage": "test", "team": "ml", "top": "4"}
    assert kv.get_tags(f"{kv._backend.layout.root}/key.json") == kv.get_tags("key")
    kv.tag_key("key", {"only": "this"}, replace=True)
    assert kv.get_tags("key") == {"only": "this"}
    kv["key"] = 2
    assert kv.get_tags("key") == {}
    for call in (lambda: kv.get_tags("absent"), lambda: kv.tag_key("absent", {"a": "b"})):
        with pytest.raises(s3kv.KeyNotFoundError, match="absent"):
            call()


def test_keys_are_found_by_the_tags_they_have_now(kv):
    kv.add("a", 1, tags={"env": "prod"})
    kv.add("b", 2, tags={"env": "prod"})
    kv.add("c", 3, tags={"env": "test"})
    kv.add("d/e f", 4, tags={"env": "prod"})
    assert kv.find_keys_by_tag_value("env", "prod") == ["a", "b", "d/e f"]
    kv["a"] = 1
    kv.delete("b")
    kv.tag_key("c", {"env": "prod"})
    assert kv.find_keys_by_tag_value("env", "prod") == ["c", "d/e f"]
    assert kv.find_keys_by_tag_value("env", "test") == []
    assert kv.find_keys_by_tag_value("none", "such") == []


def test_memoized_results_are_found_and_deleted_by_tag(kv):
    @kv.cached(version=1, tags={"day": "{day}"})
    def report(day):
        return day

    report("mon"), report("tue")
    kv.add("note", 1, tags={"day": "mon"})
    assert kv.find_keys_by_tag_value("day", "mon") == sorted([report.key("mon"), "note"])
    assert kv.get_tags(report.key("mon")) == {"day": "mon"}
    assert kv.delete_by_tag("day", "mon") == s3kv.Deleted(2)
    assert not report.contains("mon")
    assert report.contains("tue")
    assert not kv.exists("note")


def test_keys_with_a_prefix_are_tagged(kv):
    kv.update({"test_a": 1, "test/b": 2, "other": 3})
    root = kv._backend.layout.root
    assert kv.tag_keys_with_prefix(f"{root}/test", {"env": "prod"}) == 2
    assert kv.tag_keys_with_prefix("oth", {"env": "prod"}) == 1
    assert kv.find_keys_by_tag_value("env", "prod") == ["other", "test/b", "test_a"]
    with pytest.raises(s3kv.InvalidTagError):
        kv.tag_keys_with_prefix("test", {str(number): "x" for number in range(11)})


ODD_TAGS = {
    "with space": "and + plus",
    "ключ": "значение/鍵",
    "a=b": "c=d/e",
    "x" * 128: "y" * 256,
    "鍵" * 100: "鍵" * 200,
    "empty": "",
    "dots": "..",
}


@pytest.mark.parametrize("tag", ODD_TAGS, ids=lambda tag: tag[:10])
def test_every_tag_that_s3_takes_is_found(kv, tag):
    value = ODD_TAGS[tag]
    long_key = "/".join(["k" * 200] * 4)
    for key in ("key", long_key):
        kv.add(key, 1, tags={tag: value})
    assert kv.find_keys_by_tag_value(tag, value) == sorted(["key", long_key])
    assert kv.get_tags("key") == {tag: value}


@pytest.mark.parametrize(
    "tags",
    [
        {str(number): "x" for number in range(11)},
        {"x" * 129: "y"},
        {"x": "y" * 257},
        {"": "y"},
        {"emoji": "🎉"},
        {"combining": "e\u0301"},
        {"aws:x": "y"},
        {"x": "a;b"},
        {"a*": "b"},
        {"x": None},
    ],
    ids=str,
)
def test_tags_that_s3_refuses_are_refused_before_anything_is_sent(tags):
    from s3kv_flow.stores.memory import MemoryStore

    counting = CountingStore(MemoryStore())
    kv = memory_store(counting)
    kv["key"] = 1
    counting.requests.clear()
    for call in (
        lambda: kv.add("key", 1, tags=tags),
        lambda: kv.tag_key("key", tags),
        lambda: kv.tag_keys_with_prefix("key", tags),
    ):
        with pytest.raises(s3kv.InvalidTagError):
            call()
    assert counting.requests == {}


def test_ten_tags_in_all(kv):
    kv.add("key", 1, tags={str(number): "x" for number in range(9)})
    kv.tag_key("key", {"tenth": "x"})
    with pytest.raises(s3kv.InvalidTagError, match="11 tags"):
        kv.tag_key("key", {"eleventh": "x"})
    assert len(kv.get_tags("key")) == 10
    assert kv.find_keys_by_tag_value("eleventh", "x") == []


def test_more_keys_than_a_page_are_found_and_deleted(kv):
    keys = [f"many/{number:04}" for number in range(1100)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: kv.add(key, 1, tags={"many": "yes"}), keys))
    told: list[int] = []
    assert kv.find_keys_by_tag_value("many", "yes") == keys
    assert kv.delete_by_tag("many", "yes", progress=told.append) == s3kv.Deleted(1100)
    assert told[-1] == 1100
    assert kv.list_keys() == []


def test_old_markers_are_collected_and_young_ones_are_not():
    clock = ManualClock()
    kv = memory_store(clock=clock)
    kv.add("gone", 1, tags={"t": "v"})
    kv.add("kept", 1, tags={"t": "v"})
    kv.delete("gone")
    assert kv.collect_tag_index() == 0
    clock.advance(days=2)
    assert kv.collect_tag_index(dry_run=True) == 1
    assert kv.collect_tag_index() == 1
    assert kv.collect_tag_index() == 0
    assert kv.find_keys_by_tag_value("t", "v") == ["kept"]


def test_a_marker_that_lies_is_not_believed(kv, bucket):
    """Whoever can write markers cannot make a key appear to have a tag, or to be another's."""
    kv["key"] = 1
    layout = kv._backend.layout
    store = Boto3Objects(bucket)
    store.put(layout.marker(layout.document("key"), "t", "v"), [b"x" * 16])
    store.put(layout.marker("another-root/key.json", "t", "v"), [b"x" * 16])
    store.put(layout.markers("t", "v") + "~" + "0" * 32, [b'x{"name": "elsewhere/secret"}'])
    other = f"{layout.root}/notes.txt"
    store.put(other, [b"no key of ours"], tags={"t": "v"})
    store.put(layout.marker(other, "t", "v"), [b"x" * 16])
    assert kv.find_keys_by_tag_value("t", "v") == []
    assert kv.delete_by_tag("t", "v") == s3kv.Deleted(0)
    assert kv["key"] == 1
    assert store.head(other) is not None


def test_a_failing_marker_stops_the_write(kv):
    """An unindexed live tag is worse than a write that did not happen and says so."""
    from s3kv_flow.stores.memory import MemoryStore
    from s3kv_flow.testing.stores import WrappedStore

    class NoMarkers(WrappedStore):
        def request(self, verb, name, send):
            if "/index/" in name:
                raise s3kv.AccessDeniedError("no writing here", key=name)
            return super().request(verb, name, send)

    kv = memory_store(NoMarkers(MemoryStore()))
    with pytest.raises(s3kv.AccessDeniedError):
        kv.add("key", 1, tags={"t": "v"})
    assert not kv.exists("key")
    kv["key"] = 1
    with pytest.raises(s3kv.AccessDeniedError):
        kv.tag_key("key", {"t": "v"})
    assert kv.get_tags("key") == {}


def test_the_age_of_markers_is_judged_by_the_clock_of_the_server():
    from s3kv_flow.stores.memory import MemoryStore

    server, client = ManualClock(), ManualClock()
    client.advance(days=4000)
    kv = memory_store(MemoryStore(server), clock=client)
    kv.add("gone", 1, tags={"t": "v"})
    kv.delete("gone")
    assert kv.collect_tag_index() == 0  # young, whatever this machine believes
    server.advance(days=2)
    assert kv.collect_tag_index() == 1


@pytest.mark.parametrize("object_lock", [False, True], ids=["unversioned", "object lock"])
def test_a_key_written_anew_amid_a_delete_by_tag_stays(object_lock):
    from s3kv_flow.stores.memory import MemoryStore
    from s3kv_flow.testing.stores import WrappedStore

    class WritesAmid(WrappedStore):
        armed = True

        def request(self, verb, name, send):
            answer = super().request(verb, name, send)
            if verb == "tags" and self.armed:
                self.armed = False  # verified, and not yet deleted
                other["a"] = "fresh"
            return answer

    objects = MemoryStore(object_lock=object_lock)
    other = memory_store(objects)
    kv = memory_store(WritesAmid(objects))
    kv.add("a", 1, tags={"t": "v"})
    kv.add("b", 2, tags={"t": "v"})
    assert kv.delete_by_tag("t", "v") == s3kv.Deleted(1)
    assert dict(kv) == {"a": "fresh"}
