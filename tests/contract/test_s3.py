"""The main job on a real server, without and with Object Lock, and what happens when it fails."""

from __future__ import annotations

import datetime
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.testing import CountingStore

VALUES = [
    None,
    True,
    -7,
    1.5,
    "text, ключ, \ud800",
    b"bytes",
    [1, [2, {"three": None}]],
    {"nested": {"deep": [1.0, "x"]}},
    (1, 2),
    {1, 2},
    {1: "one"},
    float("inf"),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
]


@pytest.fixture
def kv(bucket: Connection):
    with s3kv.S3KV(keyring=s3kv.Keyring.generate()) as store:
        yield store


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_equal_and_of_the_same_type(kv, value):
    kv.add("key", value)
    for _ in ("from the local cache", "from S3"):
        found = kv.get("key", default="none")
        assert found == value
        assert type(found) is type(value)
        kv.clear_cache()
    kv.delete("key")


def test_json_values_are_plain_json_text(kv, bucket):
    kv.add("config/prod", {"workers": 8, "names": ["é"]})
    name = kv._backend.layout.document("config/prod")
    body = bytes(Boto3Objects(bucket).get(name).body)
    assert json.loads(body) == {"workers": 8, "names": ["é"]}
    assert name.endswith("/config/prod.json")


def test_what_others_wrote_as_json_is_read(kv, bucket):
    name = kv._backend.layout.document("theirs")
    Boto3Objects(bucket).put(name, [b'{"a": [1, 2]}'])
    assert kv.get("theirs") == {"a": [1, 2]}
    Boto3Objects(bucket).put(name, [b'{"a": 3}'])
    assert kv.get("theirs") == {"a": 3}  # never stale
    Boto3Objects(bucket).put(name, [b"{broken"])
    with pytest.raises(s3kv.SealError, match="theirs"):
        kv.get("theirs")


def test_keys_come_and_go(kv):
    keys = ["a", "a/b", "a b", "ключ", "per%cent", "per%41cent", "back\\slash", "x.json"]
    for key in keys:
        kv.add(key, key)
    assert kv.list_keys() == sorted(keys)
    assert [kv.get(key) for key in keys] == keys
    assert all(kv.exists(key) and kv.key_exists(key) and key in kv for key in keys)
    assert (len(kv), bool(kv)) == (len(keys), True)
    for key in keys:
        kv.delete(key)
        kv.delete(key)
        assert not kv.exists(key)
    assert kv.list_keys() == []
    assert not kv


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "./a", "a/../b", "x" * 300, "cache/x", 7])
def test_keys_that_servers_refuse_or_alter_are_refused(kv, key):
    for call in (kv.add, lambda key, _: kv.get(key), lambda key, _: kv.delete(key)):
        with pytest.raises(s3kv.InvalidKeyError):
            call(key, 1)


def test_it_is_a_mapping_of_its_keys(kv):
    kv["a"] = 1
    kv.update(b=2, c=3)
    assert dict(kv) == {"a": 1, "b": 2, "c": 3}
    assert kv.pop("b") == 2
    assert kv.setdefault("a", 9) == 1
    with pytest.raises(s3kv.KeyNotFoundError, match="'b'"):
        kv["b"]
    with pytest.raises(KeyError):
        del kv["b"]

    @kv.cached(version=1)
    def function(x):
        return x

    function(1)
    kv.clear()
    assert list(kv) == []
    assert function.contains(1)
    assert [*kv.iter_keys("cache/")] == [function.key(1)]


def test_an_unchanged_value_is_not_sent_again(kv):
    counting = CountingStore(kv._backend._objects)
    kv._backend._objects = kv._backend.chain._remote = counting
    kv.add("first", 0)  # whether there are locks is found out once
    counting.requests.clear()
    kv.add("key", list(range(1000)))
    assert kv.get("key") == kv.get("key")
    looked = {"protection": 1} if counting.object_lock() else {}
    counting.requests.pop("object_lock")
    assert counting.requests == {"put": 1, "get": 2, **looked}


def test_tags_are_on_the_object(kv, bucket):
    kv.add("tagged", 1, tags={"team": "a b+c", "ключ": "é"})
    client = Boto3Objects(bucket)._requests.client(retries=True)
    name = kv._backend.layout.document("tagged")
    found = client.get_object_tagging(Bucket=bucket.bucket, Key=name)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"team": "a b+c", "ключ": "é"}
    kv.add("tagged", 2)
    assert client.get_object_tagging(Bucket=bucket.bucket, Key=name)["TagSet"] == []
    for wrong in ({"a": "😀"}, {"a": "x" * 257}, {str(n): "x" for n in range(11)}, {"": "x"}):
        with pytest.raises(s3kv.InvalidTagError):
            kv.add("tagged", 3, tags=wrong)
    assert kv.get("tagged") == 2


def test_the_local_cache_is_cleared_and_the_bucket_is_not(kv):
    kv.add("a", 1)
    kv.add("b", 2)
    assert kv.clear_cache_for_key("a").entries == 1
    assert kv.clear_cache_for_key("a").entries == 0
    assert kv.clear_old_cache(2).entries == 0
    assert kv.clear_cache().entries == 1
    assert (kv["a"], kv["b"]) == (1, 2)


def test_request_budgets_of_a_cached_function(kv):
    counting = CountingStore(kv._backend._objects)
    kv._backend._objects = kv._backend.chain._remote = counting
    import numpy

    @kv.cached(version=1, tags={"team": "ml"})
    def step(x):
        return numpy.arange(x)

    for size in (3, 300_000):
        counting.requests.clear()
        step(size)
        assert counting.requests == {"get": 1, "put": 2}  # the entry, and a marker for its tag
        counting.requests.clear()
        step(size)
        assert counting.requests == {}
        kv.clear_cache()
        assert step(size)[-1] == size - 1
        assert counting.requests == {"get": 1}


def test_frames_and_tables_need_no_keyring(bucket):
    import numpy
    import pandas
    import polars
    import pyarrow

    made = [
        pandas.DataFrame({"a": numpy.random.default_rng(0).random(100_000)}),
        pandas.DataFrame({"c": pandas.Categorical(["x", "y"]), "s": ["é", None]}),
        pyarrow.table({"a": numpy.random.default_rng(0).random(1000)}),
        polars.DataFrame({"a": [1, 2]}),
        numpy.random.default_rng(0).random((300, 400)),
    ]
    with s3kv.S3KV() as kv:

        @kv.cached(version=1, on_error="raise")
        def step(number):
            return made[number]

        for number in range(len(made)):
            step(number)
        kv.clear_cache()
        for number, value in enumerate(made):
            found = step(number)
            assert found.equals(value) if hasattr(value, "equals") else (found == value).all()
        assert step.cache_info().hits == {"remote": len(made)}


def test_results_are_shared_between_machines(bucket, tmp_path):
    calls = []

    def step(x):
        calls.append(x)
        return {"x": x}

    for machine in ("one", "two"):
        with s3kv.S3KV(cache_dir=tmp_path / machine) as kv:
            assert kv.cached(step)(3) == {"x": 3}
    assert calls == [3]


def test_many_threads_many_keys(kv):
    @kv.cached(version=1)
    def square(x):
        return x * x

    results: dict[int, int] = {}

    def run(offset):
        for x in range(20):
            results[x, offset] = square(x)

    threads = [threading.Thread(target=run, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(value == x * x for (x, _), value in results.items())
    assert square.cache_info().misses == {"absent": 20}


# Faults


def test_no_bucket_is_configured(monkeypatch):
    with pytest.raises(s3kv.ConfigurationError, match="S3_BUCKET"):
        s3kv.S3KV()


def test_half_of_the_credentials_is_refused(bucket):
    with pytest.raises(s3kv.ConfigurationError, match="one half"):
        s3kv.S3KV(access_key_id="only")


def test_a_bucket_that_does_not_exist(bucket, caplog):
    with s3kv.S3KV(bucket="no-such-bucket") as kv:
        for call in (
            lambda: kv.add("a", 1),
            lambda: kv.get("a"),
            lambda: kv.exists("a"),
            kv.list_keys,
        ):
            with pytest.raises(s3kv.BucketNotFoundError, match="no-such-bucket"):
                call()
        assert kv.cached(lambda: 1)() == 1
    assert "no-such-bucket" in caplog.text


def test_a_bucket_with_a_name_that_s3_does_not_take(bucket):
    control = Boto3Objects(replace(bucket, bucket="b"))
    with pytest.raises(s3kv.BucketNotFoundError, match=r"no name for a bucket.*3 to 63 characters"):
        control.create_bucket()


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials(bucket, wrong, caplog):
    key = "WRONG" if wrong == "key" else bucket.access_key_id
    secret = "WRONG" if wrong == "secret" else bucket.secret_access_key
    with s3kv.S3KV(access_key_id=key, secret_access_key=secret) as kv:
        for call in (
            lambda: kv.add("a", 1),
            lambda: kv.get("a"),
            lambda: kv.exists("a"),
            kv.list_keys,
            lambda: kv.delete("a"),
        ):
            with pytest.raises(s3kv.AccessDeniedError):
                call()
        with pytest.raises(s3kv.AccessDeniedError, match="AWS_"):
            kv.get("a")
        assert kv.cached(lambda: 1)() == 1
    assert "denied" in caplog.text


def test_a_reader_gets_hits_and_computes_misses(kv, bucket, caplog):
    def step(x):
        return x

    kv_reader = s3kv.S3KV(
        access_key_id="READER",
        secret_access_key="reader-secret",
        keyring=kv._given["keyring"],
        local_cache="off",
    )
    writes, reads = (store.cached(version=1, name="n")(step) for store in (kv, kv_reader))
    writes(1)
    assert reads(1) == 1
    assert reads(2) == 2
    assert reads.cache_info().hits == {"remote": 1}
    assert not writes.contains(2)
    with pytest.raises(s3kv.AccessDeniedError):
        kv_reader.add("a", 1)
    assert "denied" in caplog.text


def test_a_server_that_is_not_there(monkeypatch, caplog):
    kv = s3kv.S3KV("http://127.0.0.1:9", "bucket", "key", "secret")
    for call in (lambda: kv.get("a"), lambda: kv.exists("a"), lambda: kv.add("a", 1)):
        with pytest.raises(s3kv.StoreUnavailableError, match=r"127\.0\.0\.1:9"):
            call()
    function = kv.cached(lambda x: x)
    assert function(1) == function(1) == 1
    assert "127.0.0.1:9" in caplog.text


def test_no_credentials_anywhere(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(s3kv.AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        s3kv.S3KV().get("a")


def test_credentials_come_from_the_boto3_chain(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(
        f"[team]\naws_access_key_id = {bucket.access_key_id}\n"
        f"aws_secret_access_key = {bucket.secret_access_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "team")
    with s3kv.S3KV() as kv:
        kv.add("a", 1)
        assert kv["a"] == 1
    import boto3

    with s3kv.S3KV(session=boto3.Session(profile_name="team")) as kv:
        assert kv["a"] == 1


def test_s3_stops_in_the_middle_of_a_run(tmp_path: Path, caplog):
    server = LocalServer(tmp_path / "server")
    server.start()
    try:
        server.create_bucket("bucket")
        connection = server.connection("bucket")
        calls: list[int] = []
        kv = s3kv.S3KV(
            connection.endpoint_url,
            "bucket",
            connection.access_key_id,
            connection.secret_access_key,
        )

        @kv.cached(version=1)
        def step(x: int) -> int:
            calls.append(x)
            return x

        assert [step(1), step(1)] == [1, 1]
    finally:
        server.stop()
    assert [step(1), step(2), step(2), step(3)] == [1, 2, 2, 3]
    assert calls == [1, 2, 3]
    assert step.cache_info().errors == {"store-unavailable": 2}
    assert len(caplog.records) == 1


def test_it_pickles_with_what_was_given_and_finds_the_rest_again(kv, bucket):
    import pickle

    kv.add("a", 1)
    data = pickle.dumps(kv)
    assert (bucket.secret_access_key or "").encode() not in data
    assert pickle.loads(data)["a"] == 1


def test_aws_is_the_endpoint_when_none_is_named(monkeypatch: pytest.MonkeyPatch):
    kv = s3kv.S3KV(bucket="bucket")
    assert repr(kv) == "S3KV('s3://bucket/s3kv')"
