"""What is promised of keys beyond a single read and write, on a real server."""

from __future__ import annotations

import datetime
import json
import threading
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.errors import StoreUnavailableError
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.testing import CountingStore, memory_store
from s3kv_flow.testing.stores import WrappedStore


@pytest.fixture
def kv(bucket: Connection):
    with s3kv.S3KV(keyring=s3kv.Keyring.generate()) as store:
        yield store


@pytest.mark.parametrize("value", [{"plain": "json"}, {1, 2}, b"bytes"], ids=repr)
def test_a_copy_has_the_value_and_nothing_else(kv, value):
    kv.add("source", value, tags={"team": "ml"})
    kv.add("copy", "old", tags={"old": "tag"})
    assert kv.get("copy") == "old"
    kv.copy_key("source", "copy")
    assert kv["copy"] == kv["source"] == value
    assert kv.get_tags("copy") == {}
    kv.copy_key("source", "source")
    assert kv.get_tags("source") == {"team": "ml"}


def test_a_memoized_result_can_be_copied_to_a_key(kv):
    @kv.cached(version=1)
    def step(x):
        return {"x": (x,)}

    step(1)
    kv.copy_key(step.key(1), "kept")
    assert kv["kept"] == {"x": (1,)}
    assert kv.get(step.key(1)) == {"x": (1,)}
    with pytest.raises(s3kv.InvalidKeyError, match="belong to the library"):
        kv.copy_key("kept", step.key(1))


def test_copying_what_is_absent_is_an_error(kv):
    with pytest.raises(s3kv.KeyNotFoundError, match="absent"):
        kv.copy_key("absent", "copy")
    assert not kv.exists("copy")


def test_merging_goes_left_to_right_into_what_is_there(kv):
    kv.update({"a": {"x": 1, "y": 1}, "b": {"y": 2}, "all": {"x": 0, "z": 0}})
    kv.tag_key("all", {"team": "ml"})
    assert kv["all"] == {"x": 0, "z": 0}
    kv.merge_keys(["a", "b"], "all")
    assert kv["all"] == {"x": 1, "z": 0, "y": 2}
    assert kv.get_tags("all") == {"team": "ml"}
    kv.merge_keys(["a"], "new")
    assert kv["new"] == {"x": 1, "y": 1}
    kv["odd"] = {"when": datetime.date(2026, 1, 1)}
    kv.merge_keys(["odd"], "new")
    kv.merge_keys("b", "new")
    assert kv["new"] == {"x": 1, "y": 2, "when": datetime.date(2026, 1, 1)}


def test_a_merge_that_cannot_be_done_changes_nothing(kv):
    kv.update({"a": {"x": 1}, "list": [1], "all": {"z": 0}, "text": "t"})
    with pytest.raises(s3kv.KeyNotFoundError, match="absent"):
        kv.merge_keys(["a", "absent"], "all")
    with pytest.raises(s3kv.MergeError, match="list"):
        kv.merge_keys(["a", "list"], "all")
    with pytest.raises(TypeError, match="text"):
        kv.merge_keys(["a"], "text")
    assert kv["all"] == {"z": 0}
    assert kv["text"] == "t"


def test_concurrent_merges_of_threads_lose_nothing(kv):
    for number in range(4):
        kv[f"source-{number}"] = {f"from-{number}": number}

    def merge(number: int) -> None:
        for _ in range(3):
            kv.merge_keys([f"source-{number}"], "all")

    threads = [threading.Thread(target=merge, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kv["all"] == {f"from-{number}": number for number in range(4)}


def test_size_and_time_are_those_of_the_value(kv):
    kv["key"] = {"dj": "fatboy slim"}
    assert kv.get_key_size("key") == len(json.dumps({"dj": "fatboy slim"}))
    age = datetime.datetime.now(datetime.timezone.utc) - kv.get_key_last_updated_time("key")
    assert datetime.timedelta(seconds=-2) < age < datetime.timedelta(minutes=1)
    assert kv.get_key_last_updated_time("key").tzinfo is datetime.timezone.utc
    for call in (kv.get_key_size, kv.get_key_last_updated_time):
        with pytest.raises(s3kv.KeyNotFoundError, match="absent"):
            call("absent")


def test_prefixes_are_listed_with_and_without_the_root(kv, bucket):
    kv.update({"test_a": 1, "test_b": 2, "test/deep": 3, "tes": 4, "other": 5})
    root = kv._backend.layout.root
    for prefix in ("test", f"{root}/test"):
        assert kv.list_keys_with_prefix(prefix) == ["test/deep", "test_a", "test_b"]
    assert kv.list_keys_with_prefix(f"{root}/") == kv.list_keys()
    assert kv.list_keys_with_prefix("none") == []


def test_keys_of_every_allowed_form(kv):
    keys = ["a b", " lead", "ключ/鍵", "a+b&c=d?e#f", "100%", "x" * 241, "/".join(["y" * 100] * 9)]
    for key in keys:
        kv.add(key, key, tags={"odd": "yes"})
        kv.copy_key(key, "copy")
        assert kv["copy"] == key
        assert kv.get_tags(key) == {"odd": "yes"}
        assert kv.get_key_size(key) > 0
    assert kv.find_keys_by_tag_value("odd", "yes") == sorted(keys)
    assert kv.delete_by_tag("odd", "yes") == s3kv.Deleted(len(keys))
    assert kv.list_keys() == ["copy"]


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "./a", "a/../b", "x" * 300, "/".join(["x" * 200] * 6), "cache/x"],
)
def test_keys_that_no_server_takes_are_refused_by_every_call(key):
    kv = memory_store(object_lock=True)
    calls: list[Any] = [
        lambda: kv.add(key, 1),
        lambda: kv.get(key),
        lambda: kv.delete(key),
        lambda: kv.exists(key),
        lambda: kv.copy_key(key, "b"),
        lambda: kv.copy_key("b", key),
        lambda: kv.merge_keys(["b"], key),
        lambda: kv.tag_key(key, {}),
        lambda: kv.get_tags(key),
        lambda: kv.get_key_size(key),
        lambda: kv.get_lock(key),
        lambda: kv.place_retention_lock(key, 1),
        lambda: kv.apply_legal_hold(key),
        lambda: kv.clear_cache_for_key(key),
    ]
    kv["b"] = {}
    for call in calls:
        with pytest.raises(s3kv.InvalidKeyError):
            call()


class Losing(WrappedStore):
    """Acts on a write, and loses the answer."""

    lose = 0

    def request(self, verb, name, send):
        answer = super().request(verb, name, send)
        if verb in ("put", "delete", "delete_if", "tag") and self.lose and "/index/" not in name:
            self.lose -= 1
            raise StoreUnavailableError("the answer was lost")
        return answer


@pytest.mark.parametrize("object_lock", [False, True], ids=["unversioned", "object lock"])
def test_a_write_whose_answer_was_lost_has_happened_once(object_lock):
    from s3kv_flow.stores.memory import MemoryStore

    losing = Losing(MemoryStore(object_lock=object_lock))
    kv = memory_store(losing)
    kv["a"] = {"x": 1}
    losing.lose = 1
    kv.add("a", {"x": 2}, tags={"t": "v"})
    losing.lose = 1
    kv.merge_keys(["a"], "merged")
    losing.lose = 1
    kv.copy_key("a", "b")
    assert (kv["a"], kv["merged"], kv["b"]) == ({"x": 2}, {"x": 2}, {"x": 2})
    assert losing.lose == 0
    if object_lock:
        losing.lose = 1
        kv.place_retention_lock("a", 1)
        assert kv.get_lock("a").mode == "GOVERNANCE"
        assert len(list(losing.versions(kv._backend.layout.document("a")))) == 3


def test_requests_of_each_call_without_locks():
    from s3kv_flow.stores.memory import MemoryStore

    counting = CountingStore(MemoryStore())
    kv = memory_store(counting)
    kv.update({"a": {"x": 1}, "b": {}})
    for call, budget in [
        (lambda: kv.add("a", {"x": 1}), {"put": 1}),
        (lambda: kv.add("a", {"x": 1}, tags={"t": 1}), {"put": 2}),
        (lambda: kv.get("a"), {"get": 1}),
        (lambda: kv.exists("a"), {"head": 1}),
        (lambda: kv.copy_key("a", "c"), {"get": 1, "put": 1}),
        (lambda: kv.merge_keys(["a"], "b"), {"get": 2, "tags": 1, "put": 1}),
        (lambda: kv.tag_key("b", {"t": 1}), {"tags": 1, "put": 1, "tag": 1}),
        (lambda: kv.find_keys_by_tag_value("t", 1), {"list": 1, "tags": 2}),
        (lambda: kv.find_keys_by_tag_value("t", 2), {"list": 1}),
        (lambda: kv.get_key_size("a"), {"head": 1}),
        (lambda: kv.delete("a"), {"delete": 1}),
    ]:
        counting.requests.clear()
        call()
        assert counting.requests == budget


def test_what_the_older_package_wrote_is_a_key_like_others(kv, bucket):
    Boto3Objects(bucket).put(
        kv._backend.layout.document("theirs"), [b'{"a": NaN, "b": "\\u00e9"}'], tags={"t": "v"}
    )
    assert kv["theirs"]["b"] == "é"
    assert kv.find_keys_by_tag_value("t", "v") == []
    assert kv.repair_tag_index() == 1
    assert kv.find_keys_by_tag_value("t", "v") == ["theirs"]
    kv["mine"] = {"c": 1}
    kv.merge_keys(["mine"], "theirs")
    assert kv["theirs"]["c"] == 1


def test_a_prefix_is_one_of_keys_and_not_of_how_they_are_stored():
    kv = memory_store()
    for key in ("a", "a.json", "ab", "a%41", "a\nb", "a%2Fb", "a\uffffb", "s3kv/x"):
        kv[key] = key
    for prefix in ("a", "a.", "a.j", "a%", "a%4", "a%2", "a\n", "a\uffff", "s3kv/", "none"):
        assert sorted(kv.iter_keys(prefix)) == sorted(key for key in kv if key.startswith(prefix))
    assert dict(kv) == {key: key for key in kv}


def test_full_object_names_never_take_the_place_of_keys():
    kv = memory_store()
    kv["x"] = 1
    kv.tag_key("s3kv/x.json", {"of": "x"})
    kv["s3kv/x.json"] = 2
    kv.tag_key("s3kv/x.json", {"of": "the other"})
    assert kv.get_tags("x") == {"of": "x"}
    assert kv.get_tags("s3kv/x.json") == {"of": "the other"}


def test_names_that_no_key_has_are_passed_over():
    kv = memory_store()
    kv["a"] = 1
    for name in ("s3kv/a%41.json", "s3kv/sub/.json", "s3kv/..json.json", "s3kv/b//c.json"):
        kv._backend.objects.put(name, [b"1"])
    assert sorted(kv) == [".." + "json", "a"]
    kv.clear()
    assert list(kv) == []


@pytest.mark.parametrize("key", ["x.versions/y", ".versions/x", "a/.uploads/b"])
def test_keys_that_a_server_would_not_list_are_refused(key):
    with pytest.raises(s3kv.InvalidKeyError, match="never list"):
        memory_store()[key] = 1


def test_one_default_is_set_by_many(kv):
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(kv.setdefault("one", n))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [kv["one"]] * 8


@pytest.mark.parametrize(
    "settings",
    [
        {"bucket": "a b"},
        {"bucket": ".."},
        {"bucket": "a/b"},
        {"bucket": "b", "endpoint_url": "http://"},
        {"bucket": "bucket", "endpoint_url": "http://a b"},
        {"bucket": "bucket", "endpoint_url": "localhost:9000"},
    ],
    ids=str,
)
def test_misspelt_buckets_and_endpoints_are_refused_at_once(settings):
    with pytest.raises(s3kv.ConfigurationError):
        s3kv.S3KV(**settings)
