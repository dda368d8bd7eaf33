"""Rotation without a miss: reseal what an older key sealed, verify what is there."""

from __future__ import annotations

import json

import pytest

import s3kv_flow as s3kv
from s3kv_flow._sweep import reseal, verify
from s3kv_flow.stores.control import Boto3Objects

OLD = s3kv.Keyring.generate("old")


def key_ids(kv) -> set[str]:
    from s3kv_flow.envelope import header

    found = set()
    for meta in kv._backend.objects.list(f"{kv._backend.layout.root}/"):
        stored = kv._backend.objects.get(meta.name)
        if header.is_entry(stored.body):
            _, start, _ = header.split(stored.body)
            found.add(header.load(start).get("seal", {}).get("key", "none"))
    return found


def fill(kv):
    kv["plain"] = {"json": 1}
    kv.add("entry", {1, 2}, tags={"t": "v"})
    step = kv.cached(version=1, name="step", tags={"t": "v"})(lambda x: (x,))
    for x in range(5):
        step(x)
    return step


def test_a_rotation_misses_nothing(bucket):
    with s3kv.S3KV(keyring=OLD, local_cache="off") as kv:
        fill(kv)
    both = OLD.adding("new")
    with s3kv.S3KV(keyring=both, local_cache="off") as kv:
        assert kv["entry"] == {1, 2}  # a reader that has the new key already
    rotated = both.sealing_with("new")
    with s3kv.S3KV(keyring=rotated, local_cache="off") as kv:
        assert key_ids(kv) == {"old"}
        swept = reseal(kv._backend)
        assert (swept.looked_at, swept.changed, swept.problems) == (6, 6, ())
        assert key_ids(kv) == {"new"}
        assert reseal(kv._backend).changed == 0
        assert kv.get_tags("entry") == {"t": "v"}
        assert len(kv.find_keys_by_tag_value("t", "v")) == 6
    with s3kv.S3KV(keyring=rotated.without("old"), local_cache="off") as kv:
        step = fill_reader(kv)
        assert step.cache_info().hits == {"remote": 5}
        assert kv["entry"] == {1, 2}
        assert verify(kv._backend).problems == ()


def fill_reader(kv):
    step = kv.cached(version=1, name="step")(lambda x: (x,))
    assert [step(x) for x in range(5)] == [(x,) for x in range(5)]
    return step


def test_what_nobody_vouches_for_is_not_sealed(bucket):
    with s3kv.S3KV(local_cache="off") as kv:
        kv["unsealed"] = b"anybody's"
    with s3kv.S3KV(keyring=OLD, local_cache="off") as kv:
        kv["sealed"] = b"ours"
        swept = reseal(kv._backend)
        assert swept.changed == 0
        assert [problem.key for problem in swept.problems] == ["unsealed"]
        assert "not sealed" in swept.problems[0].why


@pytest.mark.parametrize("bucket", ["seaweed-lock"], indirect=True)
def test_what_is_locked_is_left_and_named(bucket):
    with s3kv.S3KV(keyring=OLD, local_cache="off") as kv:
        kv["entry"] = {1, 2}
        kv.place_retention_lock("entry", 0.01)
    with s3kv.S3KV(keyring=OLD.adding("new").sealing_with("new"), local_cache="off") as kv:
        swept = reseal(kv._backend)
        assert [problem.key for problem in swept.problems] == ["entry"]
        assert kv["entry"] == {1, 2}


def test_damage_is_found(bucket):
    with s3kv.S3KV(keyring=OLD, local_cache="off") as kv:
        kv["whole"], kv["damaged"] = {1}, {2}
        name = kv._backend.layout.document("damaged")
        body = bytearray(bytes(Boto3Objects(bucket).get(name).body))
        body[-1] ^= 1
        Boto3Objects(bucket).put(name, [bytes(body)])
        swept = verify(kv._backend)
        assert swept.looked_at == 2
        assert [problem.key for problem in swept.problems] == ["damaged"]
        assert verify(kv._backend, sample=0.000001).looked_at == 0
        for sample in (0, -1, 1.1):
            with pytest.raises(s3kv.ConfigurationError, match="sample"):
                verify(kv._backend, sample=sample)
    with (
        s3kv.S3KV(local_cache="off") as kv,
        pytest.raises(s3kv.ConfigurationError, match="keyring"),
    ):
        reseal(kv._backend)


def test_keyrings_change_whole_and_refuse_what_would_lose(tmp_path):
    ring = OLD.adding("new")
    assert (list(ring), ring.sealing[0]) == (["old", "new"], "old")
    assert list(ring.sealing_with("new")) == ["new", "old"]
    for change in (
        lambda: ring.adding("old"),
        lambda: ring.without("old"),
        lambda: ring.without("absent"),
        lambda: ring.sealing_with("absent"),
    ):
        with pytest.raises(s3kv.ConfigurationError):
            change()
    file = tmp_path / "ring"
    OLD.write(file)
    ring.replace(file)
    assert s3kv.Keyring.read(file) == ring
    assert [path.name for path in tmp_path.iterdir()] == ["ring"]


@pytest.mark.parametrize("bucket", ["seaweed"], indirect=True)
def test_the_commands_rotate(bucket, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from s3kv_flow.cli.main import commands

    file = tmp_path / "ring"
    monkeypatch.setenv("S3KV_KEYRING_FILE", str(file))
    monkeypatch.setenv("S3KV_LOCAL_CACHE", "off")

    def run(*arguments, status=0):
        done = CliRunner().invoke(commands, arguments)
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    run("keys", "generate", "--id", "old", "--file", str(file))
    with s3kv.S3KV() as kv:
        fill(kv)
    assert "s3kv keys use new" in run("keys", "add", "--id", "new")
    assert json.loads(run("keys", "list", "--json")) == [
        {"id": "old", "seals": True},
        {"id": "new", "seals": False},
    ]
    run("keys", "use", "new")
    assert "sealed 6 anew" in run("reseal")
    run("keys", "retire", "old")
    assert "looked at 6 entries, 0 failed" in run("verify")
    assert json.loads(run("verify", "--json"))["looked_at"] == 6
    assert (file.stat().st_mode & 0o777) == 0o600
