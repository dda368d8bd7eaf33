"""Locks on a real bucket with Object Lock: what is locked does not change, whoever tries."""

from __future__ import annotations

import datetime
import time

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.testing import ManualClock, memory_store
from tests.conftest import environment_of


@pytest.fixture
def bucket(connect, monkeypatch, request) -> Connection:
    connection = connect("seaweed-lock")
    monkeypatch.setenv("S3KV_ROOT", f"locks-{abs(hash(request.node.nodeid))}")
    for name, value in environment_of(connection).items():
        monkeypatch.setenv(name, value)
    return connection


@pytest.fixture
def kv(bucket: Connection):
    with s3kv.S3KV(keyring=s3kv.Keyring.generate()) as store:
        yield store


def versions(kv, key):
    return list(kv._backend.objects.versions(kv._backend.layout.document(key)))


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_retained_key_does_not_change(kv, mode):
    kv.update({"other": {"y": 2}})
    kv.add("key", {"x": 1}, tags={"t": "v"})
    kv.add("free", 1, tags={"t": "v"})
    kv.place_retention_lock("key", 0.01, mode)
    before = versions(kv, "key")
    for change in (
        lambda: kv.add("key", 2),
        lambda: kv.__setitem__("key", 2),
        lambda: kv.merge_keys(["other"], "key"),
        lambda: kv.copy_key("other", "key"),
        lambda: kv.delete("key"),
        lambda: kv.__delitem__("key"),
        lambda: kv.pop("key"),
    ):
        with pytest.raises(s3kv.KeyLockedError, match=f"'key'.*|{mode}"):
            change()
    assert kv.delete_by_tag("t", "v") == s3kv.Deleted(1, locked=("key",))
    with pytest.raises(s3kv.KeyLockedError):
        kv.clear()
    assert versions(kv, "key") == before
    assert dict(kv) == {"key": {"x": 1}}
    assert kv.get_tags("key") == {"t": "v"}
    lock = kv.get_lock("key")
    assert (lock.mode, lock.legal_hold, bool(lock)) == (mode, False, True)
    assert lock.retain_until > datetime.datetime.now(datetime.timezone.utc)


def test_a_lock_changes_neither_value_nor_size_nor_tags(kv):
    for key, value in {"json": {"x": [1, "é"]}, "entry": {1, 2}}.items():
        kv.add(key, value, tags={"t": "v"})
        size = kv.get_key_size(key)
        kv.apply_legal_hold(key)
        kv.place_retention_lock(key, 0.01)
        kv.clear_cache()
        assert kv[key] == value
        assert kv.get_tags(key) == {"t": "v"}
        if key == "json":
            assert kv.get_key_size(key) == size
            kv.copy_key(key, "copy")
            assert kv.get_key_size("copy") == size


def test_a_held_key_changes_and_stays_held(kv):
    kv["key"] = {"x": 1}
    kv["other"] = {"y": 2}
    assert not kv.is_legal_hold_applied("key")
    kv.apply_legal_hold("key")
    kv.apply_legal_hold("key")
    kv.add("key", {"x": 2}, tags={"t": "v"})
    kv.merge_keys(["other"], "key")
    assert kv["key"] == {"x": 2, "y": 2}
    assert kv.is_legal_hold_applied("key")
    for change in (lambda: kv.delete("key"), lambda: kv.__delitem__("key")):
        with pytest.raises(s3kv.KeyLockedError, match="release_legal_hold"):
            change()
    assert kv.delete_by_tag("t", "v") == s3kv.Deleted(0, locked=("key",))
    kv.release_legal_hold("key")
    assert not kv.is_legal_hold_applied("key")
    assert not any(
        kv._backend.objects.protection(one.name, version=one.version).lock.legal_hold
        for one in versions(kv, "key")
    )
    kv.delete("key")
    assert not kv.exists("key")


def test_retention_is_removed_and_ends_by_itself(kv):
    kv["key"] = 1
    kv.place_retention_lock("key", 365)
    kv.remove_retention_lock("key")
    assert kv.get_lock("key") == s3kv.Lock()
    kv["key"] = 2
    kv.place_retention_lock("key", 2 / 86400)
    with pytest.raises(s3kv.KeyLockedError):
        kv["key"] = 3
    deadline = time.monotonic() + 10
    while kv.get_lock("key"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    kv["key"] = 3
    kv.remove_retention_lock("key")  # there is none any more


def test_compliance_is_not_removed(kv):
    kv["key"] = 1
    kv.place_retention_lock("key", 0.01, "COMPLIANCE")
    with pytest.raises(s3kv.KeyLockedError, match="nobody can end"):
        kv.remove_retention_lock("key")
    with pytest.raises(s3kv.KeyLockedError, match="stronger"):
        kv.place_retention_lock("key", 0.02, "GOVERNANCE")
    assert kv.get_lock("key").mode == "COMPLIANCE"


def test_a_second_lock_may_only_be_stronger(kv):
    kv["key"] = 1
    kv.place_retention_lock("key", 1)
    with pytest.raises(s3kv.KeyLockedError, match="stronger"):
        kv.place_retention_lock("key", 0.5)
    kv.place_retention_lock("key", 2)
    kv.apply_legal_hold("key")
    lock = kv.get_lock("key")
    assert lock.legal_hold
    assert lock.retain_until - datetime.datetime.now(datetime.timezone.utc) > datetime.timedelta(
        days=1.9
    )
    kv.release_legal_hold("key")
    assert kv.get_lock("key").mode == "GOVERNANCE"


def test_governance_can_become_compliance(kv):
    kv["key"] = 1
    kv.place_retention_lock("key", 0.01)
    kv.place_retention_lock("key", 0.011, "COMPLIANCE")
    assert kv.get_lock("key").mode == "COMPLIANCE"


def test_memoized_results_can_be_locked(kv):
    calls = []

    @kv.cached(version=1, tags={"t": "v"})
    def step(x):
        calls.append(x)
        return x

    step(1), step(2)
    kv.place_retention_lock(step.key(1), 0.01)
    with pytest.raises(s3kv.KeyLockedError):
        step.invalidate(1)
    assert step.cache_clear().entries == 1
    kv.clear_cache()
    assert (step(1), step(2), calls) == (1, 2, [1, 2, 2])
    assert step.refresh(1) == 1  # computed, and not stored over what is locked
    assert step.cache_info().errors == {"key-locked": 1}


def test_locking_what_is_absent_is_an_error(kv):
    for call in (
        lambda: kv.place_retention_lock("absent", 1),
        lambda: kv.remove_retention_lock("absent"),
        lambda: kv.apply_legal_hold("absent"),
        lambda: kv.release_legal_hold("absent"),
        lambda: kv.is_legal_hold_applied("absent"),
        lambda: kv.get_lock("absent"),
    ):
        with pytest.raises(s3kv.KeyNotFoundError, match="absent"):
            call()


@pytest.mark.parametrize("days", [0, -1, 36501, float("nan"), "7", None, True])
def test_days_without_meaning_are_refused(days):
    kv = memory_store(object_lock=True)
    kv["key"] = 1
    with pytest.raises(s3kv.ConfigurationError, match="days"):
        kv.place_retention_lock("key", days)
    with pytest.raises(s3kv.ConfigurationError, match="mode"):
        kv.place_retention_lock("key", 1, "governance")


def test_a_bucket_without_object_lock_says_so(connect, monkeypatch):
    for name, value in environment_of(connect("seaweed")).items():
        monkeypatch.setenv(name, value)
    with s3kv.S3KV(root="unlocked") as kv:
        kv["key"] = 1
        for call in (
            lambda: kv.place_retention_lock("key", 1),
            lambda: kv.remove_retention_lock("key"),
            lambda: kv.apply_legal_hold("key"),
            lambda: kv.release_legal_hold("key"),
            lambda: kv.place_retention_lock("absent", 1),
        ):
            with pytest.raises(s3kv.LockingUnavailableError, match="ObjectLockEnabledForBucket"):
                call()
        assert not kv.is_legal_hold_applied("key")
        assert not kv.get_lock("key")
        kv["key"] = 2


def test_what_another_tool_hid_is_found_and_brought_back(kv, bucket):
    kv.add("key", {"x": 1}, tags={"t": "v"})
    kv.place_retention_lock("key", 0.01)
    kv["held"] = 1
    kv.apply_legal_hold("held")
    kv["free"] = 1
    assert kv.verify_locks() == {}
    foreign, layout = Boto3Objects(bucket), kv._backend.layout
    foreign.put(layout.document("key"), [b'"shadow"'])
    foreign.delete([layout.document("held")])
    foreign.put(layout.document("free"), [b"2"])
    assert kv["key"] == "shadow"
    assert not kv.exists("held")
    found = kv.verify_locks()
    assert (set(found), found["key"].mode, found["held"].legal_hold) == (
        {"key", "held"},
        "GOVERNANCE",
        True,
    )
    assert set(kv.verify_locks("k")) == {"key"}
    assert kv.restore_locked("key")
    assert kv.restore_locked("held")
    assert not kv.restore_locked("free")
    assert (kv["key"], kv["held"], kv["free"]) == ({"x": 1}, 1, 2)
    assert kv.get_tags("key") == {"t": "v"}
    assert kv.get_lock("key") == found["key"]
    assert kv.is_legal_hold_applied("held")
    assert kv.verify_locks() == {}


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_hidden_locks_are_found_over_pages_of_versions(kv, bucket, monkeypatch, page):
    from s3kv_flow.stores import control

    keys = ["a", "a-b", "a.b", "a/b", "b/c/d"]
    for key in keys:
        kv[key] = "ours"
        kv.apply_legal_hold(key)
        kv[key] = "ours too"
    monkeypatch.setattr(control, "VERSIONS_PAGE", page)
    assert kv.verify_locks() == {}
    foreign, layout = Boto3Objects(bucket), kv._backend.layout
    for key in keys[1:]:
        for _ in range(2):
            foreign.put(layout.document(key), [b'"shadow"'])
    assert sorted(kv.verify_locks()) == keys[1:]
    for key in keys[1:]:
        assert kv.restore_locked(key)
    assert kv.verify_locks() == {}
    assert set(dict(kv).values()) == {"ours too"}


def test_a_retained_key_that_another_tool_deleted_is_not_called_absent(kv, bucket):
    kv["key"] = "ours"
    kv.place_retention_lock("key", 0.01)
    Boto3Objects(bucket).delete([kv._backend.layout.document("key")])
    for call in (lambda: kv.remove_retention_lock("key"), lambda: kv.apply_legal_hold("key")):
        with pytest.raises(s3kv.KeyLockedError, match="restore_locked"):
            call()
    assert kv.restore_locked("key")
    assert kv["key"] == "ours"


def test_a_lock_is_not_placed_on_what_hides_another(kv, bucket):
    kv["key"] = "ours"
    kv.place_retention_lock("key", 0.01)
    foreign = Boto3Objects(bucket)
    foreign.put(kv._backend.layout.document("key"), [b'"shadow"'])
    for place in (lambda: kv.place_retention_lock("key", 1), lambda: kv.apply_legal_hold("key")):
        with pytest.raises(s3kv.KeyLockedError, match="restore_locked"):
            place()
    with pytest.raises(s3kv.KeyLockedError, match="restore_locked"):
        kv.remove_retention_lock("key")
    assert kv.restore_locked("key")
    kv.apply_legal_hold("key")
    assert kv["key"] == "ours"


def test_a_version_brought_back_keeps_the_lock_of_what_hid_it(kv, bucket):
    kv["key"] = "ours"
    kv.place_retention_lock("key", 0.01)
    until = kv.get_lock("key").retain_until
    foreign = Boto3Objects(bucket)
    foreign.put(kv._backend.layout.document("key"), [b'"shadow"'], lock=s3kv.Lock(legal_hold=True))
    assert kv.restore_locked("key")
    assert kv.get_lock("key") == s3kv.Lock("GOVERNANCE", until, legal_hold=True)
    assert kv["key"] == "ours"
    assert kv.verify_locks() == {}


def test_without_the_right_to_read_locks_nothing_is_overwritten():
    from s3kv_flow.stores.memory import MemoryStore

    class Blind(MemoryStore):
        def may_read_locks(self, name):
            return False

    kv = memory_store(Blind(object_lock=True))
    kv["new"] = {"x": 1}  # hides nothing
    for change in (
        lambda: kv.add("new", 2),
        lambda: kv.delete("new"),
        lambda: kv.get_lock("new"),
        lambda: kv.merge_keys([], "new"),
        lambda: kv.delete_by_tag("t", "v"),
    ):
        kv.tag_key("new", {"t": "v"})
        with pytest.raises(s3kv.AccessDeniedError, match="may not read locks"):
            change()
    assert kv["new"] == {"x": 1}


def test_retention_is_counted_by_the_clock_of_the_server():
    """A client whose clock is wrong by years neither sees a lock end nor makes a shorter one."""
    from s3kv_flow.stores.memory import MemoryStore

    server, client = ManualClock(), ManualClock()
    client.advance(days=4000)
    kv = memory_store(MemoryStore(server, object_lock=True), clock=client)
    kv["key"] = 1
    kv.place_retention_lock("key", 10)
    with pytest.raises(s3kv.KeyLockedError):
        kv["key"] = 2
    server.advance(days=11)
    kv["key"] = 3


def test_what_was_written_before_the_bucket_kept_versions_does_not_hide_its_locks():
    from dataclasses import replace

    from s3kv_flow.stores.memory import MemoryStore

    class Older(MemoryStore):
        def head(self, name):
            found = super().head(name)
            return found and replace(found, version="null")

    objects = Older(object_lock=True)
    with memory_store(objects) as first:
        first["locked"] = first["old"] = 1
        first.place_retention_lock("locked", 1)
    kv = memory_store(objects)
    kv["old"] = 2
    with pytest.raises(s3kv.KeyLockedError):
        kv["locked"] = 2
