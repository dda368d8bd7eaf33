"""The policies that `s3kv policy` prints, given to identities that may do nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow._iam import ROLES, policy
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects


@pytest.fixture
def stores(bucket: Connection) -> Iterator[dict[str, s3kv.S3KV]]:
    """A store for each role, and one for the administrator."""
    with s3kv.S3KV(local_cache="off") as admin:
        root = admin._backend.layout.root
        statements = [
            statement
            for role in ROLES
            for statement in policy(
                role,
                bucket.bucket,
                root,
                principal=f"arn:aws:iam::000000000000:user/policy-{role}",
            )["Statement"]
        ]
        for number, statement in enumerate(statements):
            statement["Sid"] += str(number)
        document = {"Version": "2012-10-17", "Statement": statements}
        control = Boto3Objects(bucket)
        control._requests.call("put_bucket_policy", None, Policy=json.dumps(document))
        yield {
            "admin": admin,
            **{
                role: s3kv.S3KV(
                    access_key_id=f"KEY-{role}",
                    secret_access_key=f"secret-{role}",
                    local_cache="off",
                )
                for role in ROLES
            },
        }
        control._requests.call("delete_bucket_policy", None)


def denied(*calls: Any) -> None:
    for call in calls:
        with pytest.raises(s3kv.AccessDeniedError):
            call()


def test_a_reader_reads_everything_and_writes_nothing(stores, bucket):
    admin, reader = stores["admin"], stores["reader"]
    admin.add("key", {"x": 1}, tags={"t": "v"})
    admin.cached(version=1, name="n", tags={"t": "v"})(lambda x: x)(1)
    assert reader["key"] == {"x": 1}
    assert reader.get("absent", "none") == "none"
    assert reader.exists("key")
    assert not reader.exists("absent")
    assert reader.list_keys() == ["key"]
    assert reader.find_keys_by_tag_value("t", "v") == admin.find_keys_by_tag_value("t", "v")
    assert reader.get_tags("key") == {"t": "v"}
    assert reader.get_key_size("key") == 8
    step = reader.cached(version=1, name="n")(lambda x: x)
    assert (step(1), step(2)) == (1, 2)
    assert step.cache_info().hits == {"remote": 1}
    denied(
        lambda: reader.add("key", 2),
        lambda: reader.add("new", 2),
        lambda: reader.delete("key"),
        lambda: reader.tag_key("key", {"a": "b"}),
        lambda: reader.delete_by_tag("t", "v"),
        lambda: reader.copy_key("key", "copy"),
    )
    assert admin["key"] == {"x": 1}
    assert admin.list_keys() == ["key"]


def test_a_writer_writes_tags_and_deletes_and_locks_nothing(stores, bucket):
    admin, writer = stores["admin"], stores["writer"]
    writer.add("key", {"x": 1}, tags={"t": "v"})
    writer.merge_keys(["key"], "merged")
    writer.copy_key("key", "copy")
    writer.tag_key("copy", {"t": "v"})
    assert writer.find_keys_by_tag_value("t", "v") == ["copy", "key"]
    step = writer.cached(version=1, name="n", tags={"t": "v"})(lambda x: x)
    assert (step(1), step.contains(1)) == (1, True)
    assert writer.delete_by_tag("t", "v") == s3kv.Deleted(3)
    assert writer.list_keys() == ["merged"]
    if "lock" in bucket.bucket:
        denied(lambda: writer.place_retention_lock("merged", 0.01))
        denied(lambda: writer.apply_legal_hold("merged"))
        admin.apply_legal_hold("merged")
        with pytest.raises(s3kv.KeyLockedError):
            writer.delete("merged")
        with pytest.raises(s3kv.AccessDeniedError, match="legal hold"):
            writer["merged"] = {"x": 2}  # it may not hold the new version
        assert writer["merged"] == {"x": 1}
        assert admin.is_legal_hold_applied("merged")
        admin.release_legal_hold("merged")


def test_a_maintainer_locks_and_releases(stores, bucket):
    maintainer = stores["maintainer"]
    maintainer.add("key", 1, tags={"t": "v"})
    assert maintainer.repair_tag_index() == 1
    assert maintainer.collect_tag_index() == 0
    if "lock" in bucket.bucket:
        maintainer.place_retention_lock("key", 0.01)
        maintainer.apply_legal_hold("key")
        maintainer.release_legal_hold("key")
        assert maintainer.verify_locks() == {}
        maintainer.remove_retention_lock("key")
        maintainer.delete("key")


def test_nobody_reaches_beyond_the_root(stores, bucket):
    with s3kv.S3KV(root="another", local_cache="off") as other:
        other["secret"] = 1
    for role in ROLES:
        store = s3kv.S3KV(
            access_key_id=f"KEY-{role}", secret_access_key=f"secret-{role}", root="another"
        )
        denied(partial(store.get, "secret"), partial(store.add, "new", 1), store.list_keys)


def test_a_role_that_does_not_exist_is_refused():
    with pytest.raises(s3kv.ConfigurationError, match="reader, writer, maintainer"):
        policy("owner", "bucket", "s3kv")
