"""The commands over keys, tags and locks: run in this process, on a real server."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

import s3kv_flow as s3kv
from s3kv_flow.cli import main
from s3kv_flow.stores.control import Boto3Objects


@pytest.fixture
def run(bucket, monkeypatch):
    """Run a command line as `s3kv` does; gives standard output, or both where it fails."""
    monkeypatch.setenv("S3KV_LOCAL_CACHE", "off")

    def run(*arguments: str, status: int = 0, stdin: bytes = b"") -> str:
        @click.command(context_settings={"ignore_unknown_options": True})
        @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
        def shell(arguments):
            monkeypatch.setattr("sys.argv", ["s3kv", *arguments])
            main.main()

        done = CliRunner().invoke(shell, ["--", *arguments], input=stdin)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    return run


@pytest.fixture
def locks(bucket) -> bool:
    return "lock" in bucket.bucket


def test_values_come_and_go(run, kv, tmp_path):
    run("put", "config/prod", '{"workers": 8}', "-t", "env=prod")
    run("put", "note", "hello there")
    run("put", "number", "7", "--as", "text")
    run("put", "blob", "--file", "-", "--as", "bytes", stdin=b"\x00\xff")
    assert dict(kv) == {
        "config/prod": {"workers": 8},
        "note": "hello there",
        "number": "7",
        "blob": b"\x00\xff",
    }
    assert json.loads(run("get", "config/prod")) == {"workers": 8}
    assert run("get", "note") == '"hello there"\n'
    run("get", "blob", "-o", str(tmp_path / "blob"))
    assert (tmp_path / "blob").read_bytes() == b"\x00\xff"
    assert run("ls").split() == ["blob", "config/prod", "note", "number"]
    assert run("ls", "config").split() == ["config/prod"]
    shown = run("ls", "--long")
    assert "config/prod      14" in shown
    assert json.loads(run("ls", "--json", "note"))[0]["size_bytes"] == 13
    run("cp", "note", "copy")
    assert kv["copy"] == "hello there"
    run("put", "more", '{"threads": 2}')
    run("merge", "config/prod", "more", "merged")
    assert kv["merged"] == {"workers": 8, "threads": 2}
    run("rm", "copy", "merged", "absent")
    assert "copy" not in kv


def test_memoized_results_are_listed_and_shown(run, kv):
    @kv.cached(version=1, name="step")
    def step(x):
        return {"x": x}

    step(1)
    assert run("ls", "cache/").split() == [step.key(1)]
    assert json.loads(run("get", step.key(1))) == {"x": 1}
    assert run("ls") == ""


def test_what_is_known_of_a_key(run, kv):
    kv.add("key", [1], tags={"b": "2", "a": "1"})
    facts = json.loads(run("stat", "key", "--json"))
    assert (facts["size_bytes"], facts["tags"]) == (3, {"a": "1", "b": "2"})
    assert facts["lock"] == {"mode": None, "retain_until": None, "legal_hold": False}
    shown = run("stat", "key")
    assert "tags        a=1, b=2" in shown
    assert "lock        none" in shown


def test_tags_are_set_shown_found_and_deleted(run, kv):
    kv.update({"a": 1, "b": 2, "c": 3})
    run("tag", "a", "env=prod", "team=ml")
    assert run("tag", "a").split()[-4:] == ["env", "prod", "team", "ml"]
    assert json.loads(run("tag", "a", "--json")) == {"env": "prod", "team": "ml"}
    run("tag", "a", "only=this", "--replace")
    assert json.loads(run("tag", "a", "--json")) == {"only": "this"}
    assert json.loads(run("tag", "--prefix", "", "env=test", "--json")) == {"tagged": 3}
    assert run("find", "env=test").split() == ["a", "b", "c"]
    assert run("find", "env=test", "--count") == "3\n"
    assert json.loads(run("find", "env=none", "--json")) == []
    assert "Delete all keys" in run("rm", "--tag", "only=this", status=1)
    assert json.loads(run("rm", "--tag", "only=this", "-y", "--json")) == {
        "deleted": 1,
        "locked": [],
    }
    assert json.loads(run("rm", "--prefix", "", "-y", "--json"))["deleted"] == 2
    assert run("ls") == ""


def test_the_index_is_repaired_and_cleaned(run, kv, bucket):
    name = kv._backend.layout.document("theirs")
    Boto3Objects(bucket).put(name, [b"{}"], tags={"t": "v"})
    assert run("repair") == "indexed 1 tags\n"
    assert run("find", "t=v") == "theirs\n"
    assert json.loads(run("gc", "--json")) == {"removed": 0, "removable": 0}
    assert run("gc", "--dry-run") == "would remove 0 markers\n"


def test_locks_are_placed_shown_and_removed(run, kv, locks):
    kv["key"] = 1
    if not locks:
        assert "without Object Lock" in run("lock", "place", "key", "--days", "1", status=3)
        assert run("lock", "show", "key", status=1) == "none\n"
        return
    run("lock", "place", "key", "--days", "0.01")
    assert run("lock", "show", "key").startswith("GOVERNANCE until ")
    assert json.loads(run("lock", "show", "key", "--json"))["mode"] == "GOVERNANCE"
    assert "GOVERNANCE" in run("put", "key", "2", status=1)
    assert "locked, kept: key" in run("rm", "key", status=1)
    run("lock", "remove", "key")
    assert run("lock", "show", "key", status=1) == "none\n"
    run("hold", "apply", "key")
    assert run("hold", "show", "key") == "held\n"
    run("put", "key", "2")
    run("hold", "release", "key")
    assert json.loads(run("hold", "show", "key", "--json", status=1)) == {"legal_hold": False}


@pytest.mark.parametrize("bucket", ["seaweed-lock"], indirect=True)
def test_hidden_locks_are_found_and_restored(run, kv, bucket):
    kv["key"] = 1
    run("hold", "apply", "key")
    Boto3Objects(bucket).put(kv._backend.layout.document("key"), [b"2"])
    assert "legal hold" in run("lock", "verify", status=1)
    run("lock", "restore", "key")
    assert kv["key"] == 1
    assert "every locked version" in run("lock", "verify")
    assert "no locked version" in run("lock", "restore", "key", status=1)
    run("hold", "release", "key")


def test_doctor_and_policy(run, bucket):
    findings = json.loads(run("doctor", "--json"))
    assert {finding["check"] for finding in findings} >= {"endpoint", "permissions", "tags"}
    shown = run("doctor")
    assert "✓ compare-and-swap" in shown
    assert "degraded" in shown.splitlines()[-1]
    document = json.loads(run("policy", "--role", "reader"))
    assert document["Statement"][0]["Resource"] == f"arn:aws:s3:::{bucket.bucket}"
    assert "Principal" in run("policy", "--role", "writer", "--principal", "arn:aws:iam::1:user/x")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["get", "absent"], 1, "'absent'"),
        (["cp", "absent", "b"], 1, "'absent'"),
        (["put", "a//b", "1"], 2, "double slash"),
        (["put", "a", "1", "-t", "x=🎉"], 2, "refuses"),
        (["put", "a", "1", "-t", "x"], 2, "name=value"),
        (["put", "a"], 2, "VALUE"),
        (["put", "a", "{", "--as", "json"], 2, "no JSON"),
        (["rm"], 2, "KEYS"),
        (["tag"], 2, "KEY"),
        (["find", "nonsense"], 2, "name=value"),
        (["lock", "place", "a", "--days", "-1"], 2, "days"),
        (["policy", "--role", "owner"], 2, "owner"),
        (["--bucket", "no-such-bucket", "ls"], 3, "no-such-bucket"),
        (["--endpoint-url", "http://127.0.0.1:9", "doctor"], 3, "127.0.0.1:9"),
        (["--bucket", "no-such-bucket", "doctor"], 3, "no-such-bucket"),
    ],
)
@pytest.mark.parametrize("bucket", ["seaweed"], indirect=True)
def test_exit_statuses(run, kv, arguments, status, text):
    kv["present"] = 1
    assert text in run(*arguments, status=status)


@pytest.mark.parametrize("bucket", ["seaweed"], indirect=True)
def test_a_sealed_value_needs_its_keyring(run, bucket, tmp_path):
    ring = tmp_path / "ring"
    s3kv.Keyring.generate().write(ring)
    with s3kv.S3KV(keyring=ring) as kv:
        kv["key"] = {1, 2}
    assert run("--keyring", str(ring), "get", "key") == "{1, 2}\n"
    assert "has no JSON form" in run("--keyring", str(ring), "get", "key", "--json", status=1)
    assert "'key'" in run("get", "key", status=3)


def test_results_are_shown_and_cleared(run, kv, locks):
    kept = kv.cached(lambda x: x, name="kept", tags={"x": "{x}"})
    gone = kv.cached(lambda x: x, name="gone", legal_hold=locks)
    kept(1), kept(2), gone(1)
    kv.add("document", 1)
    shown = run("show", kept.key(1))
    assert "codec            json" in shown
    assert "tags             x=1" in shown
    assert json.loads(run("show", "--json", kept.key(1)))["name"] == "kept"
    run("show", "cache/kept/00/" + "00" * 16, status=1)
    run("show", "document", status=2)
    told = json.loads(run("clear", "--dry-run", "--json"))
    assert told["names"] == {"kept": 2, "gone": 1}
    run("clear", "--tag", "x=2", "-y")
    assert (kept.contains(1), kept.contains(2)) == (True, False)
    said = run("clear", "--name", "gone", "-y", status=1 if locks else 0)
    assert ("locked, kept" in said) == locks
    assert json.loads(run("clear", "--older-than", "3", "-y", "--json"))["count"] == 0
    assert kept.contains(1)
    run("clear", "-y", status=1 if locks else 0)
    assert not kept.contains(1)
    assert kv["document"] == 1
    assert json.loads(run("clear", "--local", "--json"))["local_entries"] == 0
    run("clear", "--local", "--tag", "x=1", status=2)
    if locks:
        kv.release_legal_hold(gone.key(1))
