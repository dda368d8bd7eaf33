"""What doctor says of buckets that are well, that lack something, and that are at fault."""

from __future__ import annotations

import pytest

import s3kv_flow as s3kv
from s3kv_flow._doctor import Finding, examine
from s3kv_flow.stores.control import Boto3Objects
from tests.conftest import environment_of, new_bucket


def said(**given) -> dict[str, Finding]:
    with s3kv.S3KV(**given) as kv:
        findings = {finding.check: finding for finding in examine(kv._backend)}
        assert not list(kv._backend.objects.list(f"{kv._backend.layout.root}/lease/"))
        vague = [found for found in findings.values() if found.status != "ok" and not found.mend]
        assert vague == []
        return findings


def test_a_bucket_that_is_well(bucket):
    findings = said(keyring=s3kv.Keyring.generate())
    locked = "lock" in bucket.bucket
    assert {check: finding.status for check, finding in findings.items()} == {
        "endpoint": "ok",
        "clock": "ok",
        "permissions": "ok",
        "absent keys": "ok",
        "bodies": "ok",
        "create-only writes": "ok",
        "compare-and-swap": "ok",
        "conditional deletes": "ok",
        "tags": "ok",
        "versions": "degraded" if locked else "ok",  # nothing ends old versions
        "object lock": "ok",
        "keyring": "ok",
    }
    assert ("can be retained" in findings["object lock"].said) == locked


def test_old_versions_of_the_library_s_own_expire(request, monkeypatch):
    connection = new_bucket(request, "seaweed-lock")
    for name, value in environment_of(connection).items():
        monkeypatch.setenv(name, value)
    control = Boto3Objects(connection)
    rule = {
        "ID": "s3kv",
        "Status": "Enabled",
        "Filter": {"Prefix": "s3kv/"},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    control._requests.call(
        "put_bucket_lifecycle_configuration", None, LifecycleConfiguration={"Rules": [rule]}
    )
    assert said()["versions"].status == "ok"
    assert said(root="elsewhere")["versions"].status == "degraded"


def test_default_retention_is_a_fault(request, monkeypatch):
    connection = new_bucket(request, "seaweed-lock")
    for name, value in environment_of(connection).items():
        monkeypatch.setenv(name, value)
    default = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    Boto3Objects(connection)._requests.call(
        "put_object_lock_configuration",
        None,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": default},
    )
    with s3kv.S3KV() as kv:
        findings = {finding.check: finding for finding in examine(kv._backend)}
    assert findings["object lock"].status == "fault"
    assert "default" in findings["object lock"].said


def test_a_reader_is_told_what_is_missing(bucket):
    findings = said(access_key_id="READER", secret_access_key="reader-secret")
    assert findings["permissions"].status == "degraded"
    assert "write" in findings["permissions"].said
    assert "s3:PutObject" in findings["permissions"].mend
    assert findings["keyring"].status == "degraded"


def test_unsigned_pickles_are_a_fault(bucket):
    assert said(allow_unsigned_pickle=True)["keyring"].status == "fault"


def test_http_beyond_this_machine_is_a_fault(bucket, monkeypatch):
    from s3kv_flow import _doctor

    monkeypatch.setattr(_doctor, "_LOOPBACK", ())
    assert said()["encryption on the wire"].status == "fault"


def test_a_clock_that_is_wrong_is_told(bucket, monkeypatch):
    from s3kv_flow import _doctor

    monkeypatch.setattr(_doctor, "SKEW_SECONDS", -1)
    assert said()["clock"].status == "degraded"


def test_what_cannot_be_reached_raises(monkeypatch):
    kv = s3kv.S3KV("http://127.0.0.1:9", "bucket", "key", "secret")
    with pytest.raises(s3kv.StoreUnavailableError, match=r"127\.0\.0\.1:9"):
        list(examine(kv._backend))


def test_a_server_that_keeps_no_conditions(bucket, monkeypatch):
    with s3kv.S3KV() as kv:
        monkeypatch.setattr(
            kv._backend, "capabilities", lambda: s3kv.Capabilities(False, False, False)
        )
        findings = {finding.check: finding for finding in examine(kv._backend)}
    for check in ("create-only writes", "compare-and-swap", "conditional deletes"):
        assert findings[check].status == "degraded"
