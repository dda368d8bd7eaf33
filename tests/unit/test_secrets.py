"""A store of secrets: who reads the bucket, the disk or the logs learns nothing."""

from __future__ import annotations

import logging
import pickle
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow._model import StoredObject
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import memory_store

RING = s3kv.Keyring.generate("first")
WORDS = ("hunter2", "acme", "password", "login_of", "column")


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def kv(bucket: MemoryStore, tmp_path: Path) -> s3kv.S3KV:
    return memory_store(bucket, keyring=RING, secrets=True, cache_dir=tmp_path / "cache")


def everything_in(bucket: MemoryStore) -> bytes:
    found = []
    for meta in bucket.list(""):
        stored = bucket.get(meta.name)
        assert isinstance(stored, StoredObject)
        found.append(f"{meta.name} {meta.metadata} ".encode() + bytes(stored.body))
    return b"\n".join(found)


def test_the_bucket_tells_neither_names_nor_values(
    kv: s3kv.S3KV, bucket: MemoryStore, tmp_path: Path
) -> None:
    @kv.cached
    def login_of(client: str) -> dict[str, str]:
        return {"password": "hunter2"}

    kv["clients/acme/password"] = "hunter2"
    kv["clients/acme/all"] = {"column": "hunter2"}
    assert login_of("acme") == login_of("acme") == {"password": "hunter2"}
    found = everything_in(bucket)
    assert len(found) > 500
    for word in WORDS:
        assert word.encode() not in found
    assert not list(tmp_path.rglob("*.db"))


def test_a_secret_shows_itself_to_nobody(kv: s3kv.S3KV, caplog: pytest.LogCaptureFixture) -> None:
    kv["token"] = "hunter2"
    secret = kv["token"]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("app").info("got %s, %r", secret, secret)
    try:
        raise ValueError(secret)
    except ValueError:
        shown = traceback.format_exc()
    assert "hunter2" not in f"{shown} {secret!r} {secret} {secret:>10} {caplog.text} {kv!r}"
    assert secret.reveal() == "hunter2"
    assert secret == s3kv.Secret("hunter2")
    assert secret != "hunter2"
    with pytest.raises(pickle.PicklingError, match="reveal"):
        pickle.dumps(secret)


def test_keys_are_found_listed_and_tagged_as_ever(kv: s3kv.S3KV) -> None:
    kv.add("clients/acme/token", "a", tags={"team": "x"})
    kv.add("clients/beta", {"n": 1})
    kv.merge_keys(["clients/beta"], "clients/gamma")
    kv.copy_key("clients/acme/token", "copied")
    assert kv.list_keys() == ["clients/acme/token", "clients/beta", "clients/gamma", "copied"]
    assert kv.list_keys_with_prefix("clients/be") == ["clients/beta"]
    assert kv.find_keys_by_tag_value("team", "x") == ["clients/acme/token"]
    assert kv["clients/gamma"].reveal() == {"n": 1}
    assert kv["copied"].reveal() == "a"
    assert kv.setdefault("new", "b").reveal() == "b"
    kv["again"] = kv["new"]
    assert kv.pop("again").reveal() == "b"
    assert "again" not in kv


def test_names_outlive_the_rotation_of_keys(kv: s3kv.S3KV, bucket: MemoryStore) -> None:
    kv["token"] = "hunter2"
    rotated = RING.adding("second").sealing_with("second")
    again = s3kv.Keyring.parse(rotated.text())
    assert memory_store(bucket, keyring=again, secrets=True)["token"].reveal() == "hunter2"
    assert list(again) == ["second", "first"]


def test_other_keys_see_nothing(kv: s3kv.S3KV, bucket: MemoryStore) -> None:
    kv["token"] = "hunter2"
    other = memory_store(bucket, keyring=s3kv.Keyring.generate(), secrets=True)
    assert other.list_keys() == []
    assert "token" not in other


def test_a_planted_document_is_refused(kv: s3kv.S3KV, bucket: MemoryStore) -> None:
    kv["token"] = "hunter2"
    (name,) = (meta.name for meta in bucket.list(""))
    bucket.put(name, [b'"planted"'])
    with pytest.raises(s3kv.SealError):
        kv["token"]


def test_without_a_keyring_or_over_plain_http_it_is_refused() -> None:
    with pytest.raises(s3kv.ConfigurationError, match="needs a keyring"):
        s3kv.S3KV(bucket="bucket", secrets=True)
    with pytest.raises(s3kv.ConfigurationError, match="plain http"):
        s3kv.S3KV("http://s3.example.com", "bucket", keyring=RING, secrets=True)
    s3kv.S3KV("http://127.0.0.1:9000", "bucket", keyring=RING, secrets=True)


def test_plain_http_beyond_this_machine_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        s3kv.S3KV("http://elsewhere.example.com", "bucket")
    assert caplog.text.count("plain http") == 1


def test_logs_tell_no_argument_that_an_error_repeats(
    kv: s3kv.S3KV, caplog: pytest.LogCaptureFixture
) -> None:
    fails = False

    @kv.cached(
        name="login",
        version="1",
        max_age=timedelta(seconds=0.05),
        stale_if_error=timedelta(hours=1),
    )
    def login(token: str) -> str:
        if fails:
            raise ValueError(f"login refused for {token}")
        return "ok"

    class Weird:
        def __reduce__(self) -> Any:
            raise TypeError("hunter2 has no key")

    assert login("hunter2") == "ok"
    fails = True
    time.sleep(0.1)
    assert login("hunter2") == "ok"
    with pytest.raises(ValueError, match="login refused"):
        login(Weird())
    assert "an old value is served, for the function raised ValueError" in caplog.text
    assert "computes without the cache: UnhashableArgumentError" in caplog.text
    assert "hunter2" not in caplog.text


def test_entries_and_explanations_tell_no_arguments(kv: s3kv.S3KV) -> None:
    @kv.cached
    def login_of(client: str, pin: int) -> str:
        return "hunter2"

    login_of("acme", 987_654_321_012)
    (entry,) = login_of.entries()
    shown = f"{entry} {login_of.explain('acme', 9999)}"
    assert "acme" not in shown
    assert "987654321012" not in shown  # so long that no duration has its digits
    assert "hunter2" not in shown
